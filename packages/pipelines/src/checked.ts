import { InvalidFileError } from '@mezzotint/core';
import type { z } from 'zod';

/** Checks JSON against a schema; the error lists every problem with the place where it is. */
export function checked<S extends z.ZodType>(name: string, value: unknown, schema: S): z.infer<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(top)'}: ${issue.message}`);
  throw new InvalidFileError(name, problems.length === 1 ? problems[0]! : `\n  ${problems.join('\n  ')}`);
}
