export { countProblems, positiveProblems, throwIf } from '@mezzotint/core';

/** What is wrong with the number of layers: a hostile configuration could ask for millions of modules. */
export function layerProblems(layers: unknown): string[] {
  // What is no number at all is said by countProblems.
  return typeof layers !== 'number' || layers <= 1024 ? [] : [`layers: expected at most 1024, got ${layers}`];
}
