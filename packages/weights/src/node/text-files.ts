import { InvalidFileError, parseJson, readingBudget } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';

/**
 * A text file of a model's folder. Throws an InvalidFileError when it is not there, is no plain file, or has more than
 * `readingBudget.textBytes`.
 */
export function readText(path: string): string {
  return readPlainText(path, readingBudget.textBytes);
}

/** A JSON file of a model's folder; numbers that are not finite are null. Throws as `readText` does, and when it is not JSON. */
export function readJson(path: string): unknown {
  const text = readText(path);
  try {
    return parseJson(text, { python: true }); // DPM-Solver's lambda_min_clipped is -Infinity.
  } catch (cause) {
    throw new InvalidFileError(path, `is not JSON: ${(cause as Error).message}`, { cause });
  }
}
