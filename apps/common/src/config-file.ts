import { readFileSync } from 'node:fs';
import { InvalidFileError } from '@mezzotint/core';
import type { z } from 'zod';

/** Largest configuration file that is read, in bytes; they are a few kilobytes. */
const mostBytes = 1 << 20;

/** Reads a JSON file and checks it against `schema`; the error lists every problem with the place where it is. */
export function readConfig<S extends z.ZodType>(path: string, schema: S): z.infer<S> {
  const bytes = readFileSync(path);
  if (bytes.length > mostBytes)
    throw new InvalidFileError(path, `a configuration of ${bytes.length} bytes is too large`);
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new InvalidFileError(path, `not JSON: ${(error as Error).message}`);
  }
  return checkConfig(path, json, schema);
}

/** Checks a value against a schema; `name` says in the error where it came from. */
export function checkConfig<S extends z.ZodType>(name: string, value: unknown, schema: S): z.infer<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(top)'}: ${issue.message}`);
  throw new InvalidFileError(name, problems.length === 1 ? problems[0]! : `\n  ${problems.join('\n  ')}`);
}
