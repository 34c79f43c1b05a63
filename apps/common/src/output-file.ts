import { accessSync, constants, existsSync, mkdirSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';
import { outputPlace } from '@mezzotint/core/node';

/** The type of Linux's file system of processes. */
const PROC = 0x9fa0;

/** Makes sure, before any long work, that an output file may be written: it is not there, or `overwrite` was asked for. */
export function prepareOutput(path: string, overwrite: boolean): void {
  const place = outputPlace(path); // What is no plain file is never replaced.
  if (existsSync(place) && !overwrite) {
    throw new InvalidArgumentError(path, 'exists already: choose another name, or pass --overwrite');
  }
  // Node's recursive mkdir never returns below some folders that cannot hold others (/proc), so the first one that is there is asked.
  let there = dirname(place);
  while (!existsSync(there)) there = dirname(there);
  accessSync(there, constants.W_OK);
  if (statfsSync(there).type === PROC) throw new InvalidArgumentError(path, 'lies in /proc, where no file can be made');
  mkdirSync(dirname(place), { recursive: true });
  accessSync(dirname(place), constants.W_OK);
}
