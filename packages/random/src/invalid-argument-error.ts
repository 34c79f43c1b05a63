/**
 * An argument cannot be used. `InvalidArgumentError.isInstance` of `@mezzotint/core` recognises it by its symbol and its code;
 * this package stands below core and has no dependency.
 */
export class InvalidArgumentError extends Error {
  readonly code = 'MEZZOTINT_INVALID_ARGUMENT';
  readonly facts: { readonly who: string; readonly problems: readonly string[] };
  readonly problems: readonly string[];

  constructor(who: string, problems: readonly string[] | string) {
    const lines = typeof problems === 'string' ? [problems] : problems;
    super(lines.length === 1 ? `${who}: ${lines[0]}` : `${who}:\n${lines.map((line) => `  ${line}`).join('\n')}`);
    this.name = 'InvalidArgumentError';
    this.problems = lines;
    this.facts = { who, problems: this.problems };
    Object.defineProperty(this, Symbol.for('mezzotint.error'), { value: true });
  }
}
