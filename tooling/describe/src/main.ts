import { runCommand } from '@mezzotint/app';
import { type DescribeOptions, describeCommand, runDescribe } from './command.js';

const command = describeCommand();
await runCommand<DescribeOptions>(command, (options, context) => runDescribe(command.args, options, context));
