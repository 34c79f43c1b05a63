import { runCommand } from '@mezzotint/app';
import { goldenCommand, runGolden } from './command.js';

const command = goldenCommand();
await runCommand(command, (_, context) => runGolden(command.args, context));
