#!/usr/bin/env node
import { fileURLToPath } from 'node:url';
import { runCommand } from '@mezzotint/app/terminal';
import { type BrowserFlags, browserCommand, runBrowser } from './command.js';

/** The page as `bundle-main.ts` wrote it: the same place from the sources and from what npm installs. */
const page = fileURLToPath(new URL('../dist/page/', import.meta.url));

await runCommand<BrowserFlags>(browserCommand(), (flags, context) => runBrowser(flags, page, context));
