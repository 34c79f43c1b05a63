import { MezzotintError } from '@mezzotint/core';

/** One thing that was checked. */
export interface Check {
  readonly name: string;
  readonly passed: boolean;
  /** What was measured, or what happened. */
  readonly found: number | string;
  /** What it has to be, in words: `at least 1.7`. */
  readonly expected: string;
}

/** Everything that was checked about one subject. Plain data: print it, store it, assert on it. */
export interface Report {
  readonly subject: string;
  readonly passed: boolean;
  readonly checks: readonly Check[];
}

/** A report of checks; it passed when all of them did. */
export function report(subject: string, checks: readonly Check[]): Report {
  return { subject, passed: checks.every(({ passed }) => passed), checks };
}

/** A check that a number is at most a limit. NaN fails. */
export function atMost(name: string, found: number, limit: number): Check {
  return { name, passed: found <= limit, found, expected: `at most ${limit}` };
}

/** A check that a number is at least a limit. NaN fails. */
export function atLeast(name: string, found: number, limit: number): Check {
  return { name, passed: found >= limit, found, expected: `at least ${limit}` };
}

/** A check of a fact. */
export function isTrue(name: string, passed: boolean, found: string, expected: string): Check {
  return { name, passed, found: passed ? expected : found, expected };
}

/** The lines of a report: `ok   order: 1.99 (at least 1.75)`. */
export function formatReport({ subject, passed, checks }: Report): string {
  const lines = checks.map(
    ({ name, passed, found, expected }) => `  ${passed ? 'ok  ' : 'FAIL'} ${name}: ${rounded(found)} (${expected})`,
  );
  return [`${subject} ${passed ? 'conforms' : 'does not conform'}`, ...lines].join('\n');
}

/**
 * Throws unless every check passed; for use inside any test framework.
 *
 * @throws MezzotintError, code `MEZZOTINT_NOT_CONFORMING`, whose message is the report and whose facts have it whole
 */
export function assertConforms(checked: Report): void {
  if (checked.passed) return;
  throw new MezzotintError('MEZZOTINT_NOT_CONFORMING', formatReport(checked), { report: checked });
}

function rounded(found: number | string): string {
  return typeof found === 'number' ? String(Number(found.toPrecision(4))) : found;
}
