import { runCommand } from '@mezzotint/app';
import { type ConvertFlags, convertCommand, runConvert } from './command.js';

const command = convertCommand();
await runCommand<ConvertFlags>(command, (flags, context) => runConvert(command.args, flags, context));
