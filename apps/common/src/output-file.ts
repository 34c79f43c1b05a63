import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';

/** Makes sure, before any long work, that an output file may be written: it is not there, or `overwrite` was asked for. */
export function prepareOutput(path: string, overwrite: boolean): void {
  if (existsSync(path) && !overwrite) {
    throw new InvalidArgumentError(path, 'exists already: choose another name, or pass --overwrite');
  }
  mkdirSync(dirname(path), { recursive: true });
}
