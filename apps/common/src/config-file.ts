import { InvalidFileError, named, parseJson, printable, readingBudget } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';
import type { z } from 'zod';

/** Problems that one error lists. */
const shown = 40;

/** Reads a JSON file and checks it against `schema`; the error lists every problem with the place where it is. */
export function readConfig<S extends z.ZodType>(path: string, schema: S): z.infer<S> {
  const text = readPlainText(path, readingBudget.configBytes);
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (error) {
    throw new InvalidFileError(path, `not JSON: ${(error as Error).message}`, { cause: error });
  }
  return checkConfig(path, json, schema);
}

/** Checks a value against a schema; `name` says in the error where it came from. */
export function checkConfig<S extends z.ZodType>(name: string, value: unknown, schema: S): z.infer<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { issues } = parsed.error;
  const problems = issues.slice(0, shown).map((issue) => {
    const place = issue.path.map((key) => named(String(key))).join('.');
    return `${place || '(top)'}: ${printable(issue.message)}`;
  });
  if (issues.length > shown) problems.push(`… and ${issues.length - shown} more`);
  throw new InvalidFileError(name, problems.length === 1 ? problems[0]! : `\n  ${problems.join('\n  ')}`);
}
