import { InvalidArgumentError, InvalidFileError, MezzotintError, WeightsMismatchError } from '@mezzotint/core';

/** An error as structured clone can carry it; the clone of an Error itself loses its code and its facts. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Of a MezzotintError, or of the operating system (`ENOENT`). */
  readonly code: string | undefined;
  /** The file that the operating system complains of. */
  readonly path: string | undefined;
  /** Facts of a MezzotintError, as JSON; undefined for any other error. */
  readonly facts: string | undefined;
}

/** Takes an error apart, to send it to another thread. */
export function toPlainError(error: unknown): PlainError {
  if (!(error instanceof Error)) {
    return {
      ...{ name: 'Error', message: String(error), stack: undefined },
      ...{ code: undefined, path: undefined, facts: undefined },
    };
  }
  const { code, path } = error as { code?: unknown; path?: unknown };
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    code: typeof code === 'string' ? code : undefined,
    path: typeof path === 'string' ? path : undefined,
    facts: MezzotintError.isInstance(error) ? (JSON.stringify(error.facts) ?? '{}') : undefined,
  };
}

/** The error of the other thread again: of the same class where it is one of core's, with that thread's stack. */
export function fromPlainError(plain: PlainError): Error {
  const error = revive(plain);
  error.name = plain.name;
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}

function revive({ message, code, path, facts }: PlainError): Error {
  if (code === undefined || facts === undefined) return Object.assign(new Error(message), { code, path });
  const known = JSON.parse(facts) as Readonly<Record<string, unknown>>;
  const made = new MezzotintError(code, message, known);
  const classes = [InvalidArgumentError, InvalidFileError, WeightsMismatchError] as const;
  const same = classes.find((type) => type.isInstance(made));
  // The fields that a class of core adds are facts of the same name.
  return same === undefined ? made : Object.assign(Object.setPrototypeOf(made, same.prototype) as Error, known);
}
