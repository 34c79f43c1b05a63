import { InvalidArgumentError } from '@mezzotint/core';

/** What a network said of N images: N rows of D numbers. */
export interface Features {
  /** Row-major `[count, dim]`. */
  readonly data: Float32Array | Float64Array;
  /** N. */
  readonly count: number;
  /** D. */
  readonly dim: number;
}

/** What is wrong with `features`, one line each; at least `least` rows are needed. */
export function problemsOf(name: string, { data, count, dim }: Features, least: number): string[] {
  const problems = [];
  if (!Number.isInteger(dim) || dim < 1) problems.push(`${name}: expected dim to be a positive integer, got ${dim}`);
  if (!Number.isInteger(count) || count < least) {
    problems.push(`${name}: expected at least ${least} ${least === 1 ? 'row' : 'rows'}, got ${count}`);
  }
  if (problems.length > 0) return problems;
  if (data.length !== count * dim) {
    return [`${name}: expected ${count} x ${dim} = ${count * dim} numbers, got ${data.length}`];
  }
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    problems.push(
      `${name}: expected finite numbers, got ${data[bad]} in row ${Math.floor(bad / dim)}, column ${bad % dim}`,
    );
  }
  return problems;
}

/**
 * Checks two sets of features that are to be compared.
 *
 * @throws InvalidArgumentError in the name of `who`, with everything that is wrong
 */
export function checkPair(who: string, pair: Readonly<Record<string, Features>>, least: number): void {
  const problems = Object.entries(pair).flatMap(([name, features]) => problemsOf(name, features, least));
  const dims = new Set(Object.values(pair).map(({ dim }) => dim));
  if (dims.size > 1) problems.push(`expected features of one network, got dims ${[...dims].join(' and ')}`);
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}
