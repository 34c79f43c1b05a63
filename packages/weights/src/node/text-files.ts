import { readFileSync, statSync } from 'node:fs';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';

/** Longest JSON or text file of a model that is read. */
const MAX_TEXT_BYTES = 2 ** 26;

/** A text file of a model's folder. Throws an InvalidArgumentError when it is not there, an InvalidFileError when it is too long. */
export function readText(path: string): string {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) throw new InvalidArgumentError(path, 'no such file');
  if (size > MAX_TEXT_BYTES) throw new InvalidFileError(path, `expected at most ${MAX_TEXT_BYTES} bytes, got ${size}`);
  return readFileSync(path, 'utf8');
}

/** Strings, and the words that Python's json writes for numbers that are not finite (DPM-Solver's lambda_min_clipped). */
const NUMBERS_OF_PYTHON = /"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g;

/** A JSON file of a model's folder; numbers that are not finite are null. Throws as `readText` does, and when it is not JSON. */
export function readJson(path: string): unknown {
  const text = readText(path);
  try {
    return JSON.parse(text.replaceAll(NUMBERS_OF_PYTHON, (token) => (token.startsWith('"') ? token : 'null')));
  } catch (cause) {
    throw new InvalidFileError(path, 'is not JSON', { cause });
  }
}
