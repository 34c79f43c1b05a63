import { InvalidArgumentError, NumpyRandomState } from '@mezzotint/core';
import { type Features, problemsOf } from './features.js';
import { type Spread, spreadOf } from './kernel-distance-of-subsets.js';

/** How the samples are split. The defaults are torch-fidelity's. */
export interface InceptionScoreOptions {
  /** Parts that are scored one by one. Default 10. */
  readonly splits?: number;
  /** Seed of NumPy's RandomState, which shuffles the samples before they are split. Default 2020. */
  readonly seed?: number;
}

/**
 * Inception score from logits `[N, classes]`: `exp(E KL(p(y|x) | p(y)))`, its mean and spread over splits. Between 1 and
 * the number of classes. T. Salimans et al., "Improved Techniques for Training GANs" (2016), section 4.
 *
 * @throws InvalidArgumentError for less rows than splits, or numbers that are not finite
 */
export function inceptionScore(logits: Features, { splits = 10, seed = 2020 }: InceptionScoreOptions = {}): Spread {
  const problems = [];
  if (!Number.isInteger(splits) || splits < 1) problems.push(`expected splits to be a positive integer, got ${splits}`);
  problems.push(...problemsOf('logits', logits, Math.max(1, splits || 1)));
  if (problems.length > 0) throw new InvalidArgumentError('inceptionScore', problems);
  const order = new NumpyRandomState(seed).permutation(logits.count);
  const scores = Float64Array.from({ length: splits }, (_, i) => {
    const from = Math.floor((i * logits.count) / splits);
    const to = Math.floor(((i + 1) * logits.count) / splits);
    return scoreOf(logits, order.subarray(from, to));
  });
  return spreadOf(scores);
}

/** exp of the mean divergence of p(y|x) from its mean, over the rows given. */
function scoreOf({ data, dim }: Features, rows: Int32Array): number {
  const marginal = new Float64Array(dim);
  let negativeEntropy = 0; // sum over rows of sum over y of p log p
  for (const row of rows) {
    const logits = Float64Array.from(data.subarray(row * dim, (row + 1) * dim));
    const most = logits.reduce((a, b) => Math.max(a, b));
    const logSum = most + Math.log(logits.reduce((sum, value) => sum + Math.exp(value - most), 0));
    for (let y = 0; y < dim; y++) {
      const logP = logits[y]! - logSum;
      const p = Math.exp(logP);
      marginal[y]! += p / rows.length;
      negativeEntropy += p === 0 ? 0 : p * logP;
    }
  }
  const marginalNegativeEntropy = marginal.reduce((sum, p) => sum + (p === 0 ? 0 : p * Math.log(p)), 0);
  return Math.exp(negativeEntropy / rows.length - marginalNegativeEntropy);
}
