import { accessSync, constants, existsSync, mkdirSync, statfsSync, statSync } from 'node:fs';
import { dirname, extname } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';
import { outputPlace, systemProblem } from '@mezzotint/core/node';

/** The type of Linux's file system of processes. */
const PROC = 0x9fa0;

/** Endings of other kinds of pictures, which a PNG must not have. */
const otherPictures = ['.jpg', '.jpeg', '.webp', '.gif', '.bmp', '.tif', '.tiff', '.avif'];

/** Makes sure, before any long work, that an output file may be written: it is not there, or `overwrite` was asked for. */
export function prepareOutput(path: string, overwrite: boolean): void {
  const place = outputPlace(path); // What is no plain file is never replaced.
  const ending = extname(path).toLowerCase();
  if (otherPictures.includes(ending)) {
    throw new InvalidArgumentError(path, `pictures are written as PNG, which ${ending} would not say: name it .png`);
  }
  try {
    statSync(place, { throwIfNoEntry: false });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new InvalidArgumentError(path, `cannot be written: ${systemProblem(code) ?? message}`, { cause });
  }
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
