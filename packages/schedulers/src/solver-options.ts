import { InvalidArgumentError } from '@mezzotint/core';

/** A setting of a solver, declared once for configuration files, flags and help. */
export type SolverOption =
  | {
      readonly type: 'number';
      readonly about: string;
      readonly absent: number;
      readonly min: number;
      readonly max?: number;
      readonly whole?: boolean;
    }
  | { readonly type: 'boolean'; readonly about: string; readonly absent: boolean }
  | { readonly type: 'choice'; readonly about: string; readonly absent: string; readonly values: readonly string[] };

/** Settings of a solver by name. */
export type SolverOptions = Readonly<Record<string, number | boolean | string>>;

/** The settings that every solver takes: how the noise levels are spaced. */
export const scheduleOptions: Readonly<Record<string, SolverOption>> = {
  sigmas: {
    type: 'choice',
    about: "spacing of the noise levels; model: as the model's makers have it",
    absent: 'model',
    values: ['model', 'karras', 'exponential', 'beta'],
  },
  rho: { type: 'number', about: 'exponent of sigmas karras', absent: 7, min: 1 },
};

/** Settings that are not those of the declarations, one line each; empty when all fit. */
export function solverOptionProblems(
  declared: Readonly<Record<string, SolverOption>>,
  given: Readonly<Record<string, unknown>>,
): string[] {
  const all = { ...declared, ...scheduleOptions };
  const { sigmas = 'model', rho } = given;
  const unused =
    rho === undefined || sigmas === 'karras' ? [] : [`rho: expected sigmas karras beside it, got ${sigmas}`];
  const others = Object.entries(given).flatMap(([name, value]) => {
    const option = Object.hasOwn(all, name) ? all[name] : undefined;
    if (option === undefined) return [`has no option '${name}'; it has ${Object.keys(all).join(', ')}`];
    const expected = optionProblem(option, value);
    return expected === undefined ? [] : [`${name}: expected ${expected}, got ${JSON.stringify(value)}`];
  });
  return [...others, ...unused];
}

/** What was expected of the value of an option, where it is something else. */
export function optionProblem(option: SolverOption, value: unknown): string | undefined {
  if (option.type === 'boolean') return typeof value === 'boolean' ? undefined : 'true or false';
  if (option.type === 'choice') return option.values.includes(value as string) ? undefined : option.values.join(' or ');
  const { min, max = Number.POSITIVE_INFINITY, whole = false } = option;
  const fits = typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value));
  if (fits && Number.isFinite(value)) return undefined;
  return `a ${whole ? 'whole ' : ''}number ${max === Number.POSITIVE_INFINITY ? `of at least ${min}` : `from ${min} to ${max}`}`;
}

/** Throws an InvalidArgumentError that lists every option that does not fit. */
export function checkSolverOptions(
  who: string,
  declared: Readonly<Record<string, SolverOption>>,
  given: Readonly<Record<string, unknown>>,
): void {
  const problems = solverOptionProblems(declared, given);
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}
