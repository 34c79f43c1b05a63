import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** A study's result as a JSON file. */
export function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, null, 1)}\n`);
}

/** What an earlier run of a study left; undefined where there is nothing. */
export function readJson<T>(path: string): T | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : undefined;
}
