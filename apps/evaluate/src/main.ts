#!/usr/bin/env node
import { runCommand } from '@mezzotint/app';
import { evaluateCommand } from './command.js';
import { evaluate } from './evaluate.js';
import { type MergeFlags, merge, mergeCommand } from './merge.js';
import { printTable, type TableFlags, tableCommand } from './table.js';

const [word, ...rest] = process.argv.slice(2);
if (word === 'table') await runCommand<TableFlags>(tableCommand(), printTable, rest);
else if (word === 'merge') {
  const command = mergeCommand();
  await runCommand<MergeFlags>(command, (flags, context) => merge(command.args, flags, context), rest);
} else await runCommand(evaluateCommand(), evaluate);
