import { existsSync, readFileSync, statSync } from 'node:fs';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';

/** Longest JSON or text file of a model that is read. */
const MAX_TEXT_BYTES = 2 ** 26;

/** A file's text. Throws an InvalidFileError, before it reads, when the file has more than so many bytes. */
export function readUpTo(path: string, limit: number): string {
  const { size } = statSync(path);
  if (size > limit) throw new InvalidFileError(path, `is longer than ${limit} bytes: it has ${size}`);
  return readFileSync(path, 'utf8');
}

/** A text file of a model's folder. Throws an InvalidArgumentError when it is not there, an InvalidFileError when it is too long. */
export function readText(path: string): string {
  if (!existsSync(path)) throw new InvalidArgumentError(path, 'no such file');
  return readUpTo(path, MAX_TEXT_BYTES);
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
