import { listed, named, printable } from './printable.js';

const INVALID_ARGUMENT = 'MEZZOTINT_INVALID_ARGUMENT';
const INVALID_FILE = 'MEZZOTINT_INVALID_FILE';
const WEIGHTS_MISMATCH = 'MEZZOTINT_WEIGHTS_MISMATCH';
/** How many tensors of another shape a message lists; `facts` has them all. */
const LISTED = 20;

/** What an error can carry beside its text: the facts it speaks of, for programs. */
export type ErrorFacts = Readonly<Record<string, unknown>>;

/**
 * Base of every error that Mezzotint throws. The message says who complains, what was expected, what came, and what to
 * do; all problems at once. Words out of files are escaped and cut in it ({@link printable}); `facts` has them as they are.
 *
 * `MezzotintError.isInstance(e)` also recognises errors thrown by another copy of this package in the same program
 * (normal on npm), where `instanceof` fails; so does `isInstance` of each subclass. Every subclass names itself in
 * `code`.
 */
export class MezzotintError extends Error {
  static readonly brand: symbol = Symbol.for('mezzotint.error');
  /** Stable name for programs, such as `MEZZOTINT_WEIGHTS_MISMATCH`. */
  readonly code: string;
  /** The facts of the message, for programs. */
  readonly facts: ErrorFacts;

  constructor(code: string, message: string, facts: ErrorFacts = {}, options?: ErrorOptions) {
    super(printable(message), options);
    this.name = 'MezzotintError'; // A text, as each subclass sets its own: builds and minifiers rename classes.
    this.code = code;
    this.facts = facts;
    Object.defineProperty(this, MezzotintError.brand, { value: true });
  }

  /** True for an error of Mezzotint, whichever copy of the package made it. */
  static isInstance(error: unknown): error is MezzotintError {
    return typeof error === 'object' && error !== null && MezzotintError.brand in error;
  }
}

/** An argument or a configuration cannot be used. `problems` holds one line for each thing wrong. */
export class InvalidArgumentError extends MezzotintError {
  readonly problems: readonly string[];

  /**
   * @param who what complains, for example `UNet`
   * @param problems one line each: what was expected, what came, what to do
   */
  constructor(who: string, problems: readonly string[] | string, options?: ErrorOptions) {
    const lines = typeof problems === 'string' ? [problems] : problems;
    const text = lines.length === 1 ? `${who}: ${lines[0]}` : `${who}:\n${lines.map((line) => `  ${line}`).join('\n')}`;
    super(INVALID_ARGUMENT, text, { who, problems: lines }, options);
    this.name = 'InvalidArgumentError';
    this.problems = lines;
  }

  /** True for such an error, whichever copy of the package made it. */
  static override isInstance(error: unknown): error is InvalidArgumentError {
    return MezzotintError.isInstance(error) && error.code === INVALID_ARGUMENT;
  }
}

/** A file or a buffer is not what it claims to be. Nothing of it was used. */
export class InvalidFileError extends MezzotintError {
  /**
   * @param file the file, as the user named it
   * @param problem what was expected and what was found
   */
  constructor(
    readonly file: string,
    readonly problem: string,
    options?: ErrorOptions,
  ) {
    super(INVALID_FILE, `${file}: ${problem}`, { file, problem }, options);
    this.name = 'InvalidFileError';
  }

  /** True for such an error, whichever copy of the package made it. */
  static override isInstance(error: unknown): error is InvalidFileError {
    return MezzotintError.isInstance(error) && error.code === INVALID_FILE;
  }
}

/** A state dict does not fit a model. Nothing was loaded. */
export class WeightsMismatchError extends MezzotintError {
  constructor(
    readonly model: string,
    readonly missing: readonly string[],
    readonly unexpected: readonly string[],
    readonly mismatched: readonly { readonly name: string; readonly expected: string; readonly got: string }[],
  ) {
    const lines = [`Weights do not fit ${model}:`];
    if (missing.length > 0) lines.push(`  missing ${missing.length}: ${listed(missing)}`);
    if (unexpected.length > 0) lines.push(`  unexpected ${unexpected.length}: ${listed(unexpected)}`);
    for (const { name, expected, got } of mismatched.slice(0, LISTED)) {
      lines.push(`  ${named(name)}: expected ${expected}, got ${named(got)}`);
    }
    if (mismatched.length > LISTED) lines.push(`  … and ${mismatched.length - LISTED} more of another shape`);
    super(WEIGHTS_MISMATCH, lines.join('\n'), { model, missing, unexpected, mismatched });
    this.name = 'WeightsMismatchError';
  }

  /** True for such an error, whichever copy of the package made it. */
  static override isInstance(error: unknown): error is WeightsMismatchError {
    return MezzotintError.isInstance(error) && error.code === WEIGHTS_MISMATCH;
  }
}
