import { accessSync, constants, existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';

/** Makes sure, before any long work, that an output file may be written: it is not there, or `overwrite` was asked for. */
export function prepareOutput(path: string, overwrite: boolean): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw new InvalidArgumentError(path, 'is a folder; expected the name of a file to write');
  }
  if (existsSync(path) && !overwrite) {
    throw new InvalidArgumentError(path, 'exists already: choose another name, or pass --overwrite');
  }
  mkdirSync(dirname(path), { recursive: true });
  accessSync(dirname(path), constants.W_OK);
}
