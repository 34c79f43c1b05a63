#!/usr/bin/env node
import { runCommand } from '@mezzotint/app/terminal';
import { type ConvertFlags, convertCommand, runConvert } from './command.js';

const command = convertCommand();
await runCommand<ConvertFlags>(command, (flags, context) => runConvert(command.args, flags, context));
