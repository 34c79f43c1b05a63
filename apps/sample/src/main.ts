#!/usr/bin/env node
import { runCommand } from '@mezzotint/app/terminal';
import { sampleCommand } from './command.js';
import { sampleToFile } from './sample-to-file.js';

await runCommand(sampleCommand(), sampleToFile);
