import { InvalidArgumentError } from '@mezzotint/core';
import { type Features, problemsOf } from './features.js';
import { InceptionScoreStatistics } from './inception-score-statistics.js';
import type { Spread } from './kernel-distance-of-subsets.js';

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
  return new InceptionScoreStatistics(logits.dim, logits.count, { splits, seed }).add(logits, 0).score();
}

/** log p(y|x) of row `i` of logits: the log-softmax. */
export function logProbabilities({ data, dim }: Features, i: number): Float64Array {
  const logits = Float64Array.from(data.subarray(i * dim, (i + 1) * dim));
  const most = logits.reduce((a, b) => Math.max(a, b));
  const logSum = most + Math.log(logits.reduce((sum, value) => sum + Math.exp(value - most), 0));
  return logits.map((value) => value - logSum);
}
