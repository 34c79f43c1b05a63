import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { InvalidArgumentError } from '@mezzotint/core';

/** A study's result as a JSON file. */
export function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, null, 1)}\n`);
}

/** What an earlier run of a study left; undefined where there is nothing. */
export function readJson<T>(path: string): T | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : undefined;
}

/**
 * What an earlier run with the same settings left; undefined where there is nothing.
 *
 * @throws InvalidArgumentError when what is there was made with other settings
 */
export function kept<T>(path: string, settings: Readonly<Record<string, unknown>>): T | undefined {
  const before = readJson<Record<string, unknown>>(path);
  if (before === undefined) return undefined;
  const other = Object.entries(settings).filter(
    ([key, value]) => JSON.stringify(before[key]) !== JSON.stringify(value),
  );
  if (other.length === 0) return before as T;
  const lines = other.map(
    ([key, value]) => `${key}: was ${JSON.stringify(before[key])}, is now ${JSON.stringify(value)}`,
  );
  throw new InvalidArgumentError(path, [...lines, 'choose another --out, or remove the file']);
}

/**
 * Writes a section of a document anew, between the comments `<!-- name: ... -->` and `<!-- end of name -->`.
 *
 * @throws InvalidArgumentError when the document has no such section
 */
export function replaceSection(path: string, name: string, text: string): void {
  const [begin, end] = [`<!-- ${name}: written by \`pnpm ${name}\` -->`, `<!-- end of ${name} -->`];
  const [before, rest] = readFileSync(path, 'utf8').split(begin);
  const after = rest?.split(end)[1];
  if (after === undefined) throw new InvalidArgumentError(path, `expected the lines ${begin} and ${end}`);
  writeFileSync(path, `${before}${begin}\n\n${text}\n\n${end}${after}`);
}
