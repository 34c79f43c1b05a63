import { InvalidArgumentError, type RandomStream } from '@mezzotint/core';

/**
 * Replaces each label by the null label with probability p, so that one network learns the conditional and the
 * unconditional model. Classifier-Free Guidance (Ho and Salimans 2022), algorithm 1. Draws one uniform a label, whatever p is.
 *
 * @param labels `[N]`; not changed
 * @throws InvalidArgumentError when p is not in [0, 1]
 */
export function dropLabels(labels: Int32Array, nullLabel: number, p: number, rng: RandomStream): Int32Array {
  if (!(p >= 0 && p <= 1)) throw new InvalidArgumentError('dropLabels', `the probability must be in [0, 1], got ${p}`);
  const draws = rng.rand(labels.length);
  return labels.map((label, i) => (draws[i]! < p ? nullLabel : label));
}
