import { InvalidArgumentError } from '@mezzotint/core';
import { checkPair, type Features } from './features.js';
import { squaredDistances } from './squared-distances.js';

/** How much of what was generated is copied from the pictures that a model was trained on. */
export interface Memorization {
  /** Share of generated samples at most a third as far from their nearest training sample as from the second nearest. */
  readonly memorized: number;
  /** Share of generated samples farther from their nearest training sample than that one is from its own nearest one. */
  readonly authenticity: number;
}

const BLOCK = 128;

/**
 * Memorisation by nearest neighbours. `memorized`: T. Yoon et al., "Diffusion Probabilistic Models Generalize when They Fail to
 * Memorize" (2023), |x - nearest| < ratio |x - second nearest|, ratio 1/3. `authenticity`: A. Alaa et al., "How Faithful is your
 * Synthetic Data?" (2022), section 4.3. Time O(N^2 D).
 *
 * @throws InvalidArgumentError for fewer than 2 training rows, dims that differ, or numbers that are not finite
 */
export function memorization(
  generated: Features,
  training: Features,
  { ratio = 1 / 3 }: { readonly ratio?: number } = {},
): Memorization {
  if (!(ratio > 0 && ratio <= 1)) {
    throw new InvalidArgumentError('memorization', `expected a ratio in (0, 1], got ${ratio}`);
  }
  checkPair('memorization', { generated, training }, 1);
  if (training.count < 2) {
    throw new InvalidArgumentError('memorization', `expected at least 2 training rows, got ${training.count}`);
  }
  const own = nearestTwo(training, training, true);
  const found = nearestTwo(generated, training, false);
  let [memorized, authentic] = [0, 0];
  for (let i = 0; i < generated.count; i++) {
    const [nearest, second] = [found.first[i]!, found.second[i]!]; // squared
    if (nearest < ratio * ratio * second || nearest === 0) memorized += 1;
    if (nearest > own.first[found.index[i]!]!) authentic += 1;
  }
  return { memorized: memorized / generated.count, authenticity: authentic / generated.count };
}

/** Of each row, the squared distances of the two nearest rows of another set, and which the nearest is. */
function nearestTwo(set: Features, among: Features, skipItself: boolean) {
  const first = new Float64Array(set.count).fill(Number.POSITIVE_INFINITY);
  const second = first.slice();
  const index = new Int32Array(set.count);
  const distances = new Float64Array(BLOCK);
  for (let j0 = 0; j0 < among.count; j0 += BLOCK) {
    const j1 = Math.min(j0 + BLOCK, among.count);
    for (let i = 0; i < set.count; i++) {
      squaredDistances(set, i, among, j0, j1, distances);
      for (let j = j0; j < j1; j++) {
        const distance = distances[j - j0]!;
        if (skipItself && j === i) continue;
        if (distance < first[i]!) {
          second[i] = first[i]!;
          first[i] = distance;
          index[i] = j;
        } else if (distance < second[i]!) second[i] = distance;
      }
    }
  }
  return { first, second, index };
}
