import { InvalidArgumentError, type Module, type Param } from '@mezzotint/core';

/** Which of a model's parameters are trained, by patterns of state-dict keys in which `*` stands for any text. */
export interface TrainableOptions {
  /** Only these; all that are trainable when absent. */
  readonly only?: readonly string[];
  /** Not these. */
  readonly freeze?: readonly string[];
}

/**
 * The trainable parameters of a model by state-dict key, without those that are frozen.
 *
 * @throws InvalidArgumentError when a pattern fits no parameter, or nothing is left to train
 */
export function trainableParams(model: Module, { only, freeze = [] }: TrainableOptions = {}): Map<string, Param> {
  const all = [...model.params()].filter(([, param]) => param.trainable);
  const problems = [...(only ?? []), ...freeze]
    .filter((pattern) => !all.some(([path]) => matchesPattern(path, pattern)))
    .map((pattern) => `the pattern '${pattern}' fits no parameter; for example '${all[0]?.[0] ?? 'none'}' would`);
  const matches = (patterns: readonly string[], path: string) => patterns.some((p) => matchesPattern(path, p));
  const left = all.filter(([path]) => (only === undefined || matches(only, path)) && !matches(freeze, path));
  if (problems.length === 0 && left.length === 0 && all.length > 0) problems.push('every parameter is frozen');
  if (problems.length > 0) throw new InvalidArgumentError('trainableParams', problems);
  return new Map(left);
}

/** Whether a key fits a pattern, as a whole; `*` stands for any text, also across dots. */
export function matchesPattern(path: string, pattern: string): boolean {
  const parts = pattern.split('*');
  const last = parts.pop()!;
  if (parts.length === 0) return path === last;
  let at = 0;
  for (const [i, part] of parts.entries()) {
    const found = i === 0 ? (path.startsWith(part) ? 0 : -1) : path.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return path.length - last.length >= at && path.endsWith(last);
}
