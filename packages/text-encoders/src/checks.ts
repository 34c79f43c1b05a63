import { InvalidArgumentError } from '@mezzotint/core';

/** What is wrong with numbers that should be whole and at least 1, by name. */
export function countProblems(counts: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(counts)
    .filter(([, value]) => !Number.isSafeInteger(value) || (value as number) < 1)
    .map(([name, value]) => `${name}: expected a whole number of at least 1, got ${JSON.stringify(value)}`);
}

/** What is wrong with the number of layers: a hostile configuration could ask for millions of modules. */
export function layerProblems(layers: number): string[] {
  return layers <= 1024 ? [] : [`layers: expected at most 1024, got ${layers}`];
}

/** What is wrong with a number that should be above zero. */
export function positiveProblems(name: string, value: unknown): string[] {
  return typeof value === 'number' && value > 0 && Number.isFinite(value)
    ? []
    : [`${name}: expected a positive number, got ${JSON.stringify(value)}`];
}

/** Throws when there is a problem. */
export function throwIf(who: string, problems: readonly string[]): void {
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}
