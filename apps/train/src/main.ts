#!/usr/bin/env node
import { runCommand } from '@mezzotint/app';
import { trainCommand } from './command.js';
import { type PosthocEmaFlags, posthocEmaCommand, runPosthocEma } from './posthoc-ema.js';
import { trainRun } from './train-run.js';

const [first, ...rest] = process.argv.slice(2);
if (first === 'posthoc-ema') await runCommand<PosthocEmaFlags>(posthocEmaCommand(), runPosthocEma, rest);
else await runCommand(trainCommand(), trainRun);
