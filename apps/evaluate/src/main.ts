import { runCommand } from '@mezzotint/app';
import { evaluateCommand } from './command.js';
import { evaluateModel } from './evaluate-model.js';

await runCommand(evaluateCommand(), evaluateModel);
