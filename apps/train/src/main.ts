import { runCommand } from '@mezzotint/app';
import { trainCommand } from './command.js';
import { trainRun } from './train-run.js';

await runCommand(trainCommand(), trainRun);
