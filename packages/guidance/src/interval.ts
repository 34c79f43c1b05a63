import type { Denoiser, NoiseLevel, NoiseLevels } from '@mezzotint/core';
import { InvalidArgumentError } from '@mezzotint/core';
import type { Scale } from './scale.js';
import { scaleAt } from './scale.js';

/** A range of noise-to-signal ratios sigma / alpha: low < ratio <= high. */
export interface Interval {
  /** 0 when left out. */
  readonly low?: number;
  /** Infinity when left out. */
  readonly high?: number;
}

/**
 * Guides in an interval of noise levels only; outside, the model runs as it is. Kynkäänniemi et al. 2024 (arXiv
 * 2404.07724): guidance harms at high noise and does nothing at low.
 *
 * @param guide any guidance: `(d) => classifierFree(d, options)`
 */
export function guidanceInterval<C>(
  denoiser: Denoiser<C>,
  guide: (denoiser: Denoiser<C>) => Denoiser<C>,
  interval: Interval,
): Denoiser<C> {
  const inside = guide(denoiser);
  return (x, at, cond) => (contains(interval, at) ? inside : denoiser)(x, at, cond);
}

/** A scale that holds in an interval of noise levels and is `outside` (1, no guidance) elsewhere. */
export function scaleInInterval(scale: Scale, interval: Interval, outside = 1): Scale {
  return (at) => (contains(interval, at) ? scaleAt(scale, at) : outside);
}

/**
 * The interval that holds for steps `first` to `last` (both included, from 0) of a run on a table: for "the first two
 * steps" and "the last 80 %" of other libraries. From step 0 it has no upper end, as solvers that churn begin above the table's first
 * level.
 *
 * @throws InvalidArgumentError when the table has no such steps
 */
export function intervalOfSteps({ alpha, sigma }: NoiseLevels, first: number, last: number): Required<Interval> {
  const steps = alpha.length - 1;
  if (!(Number.isInteger(first) && Number.isInteger(last) && 0 <= first && first <= last && last < steps)) {
    throw new InvalidArgumentError(
      'intervalOfSteps',
      `expected steps 0 <= first <= last < ${steps} of the table, got first ${first}, last ${last}`,
    );
  }
  const high = first === 0 ? Number.POSITIVE_INFINITY : sigma[first]! / alpha[first]!;
  return { low: sigma[last + 1]! / alpha[last + 1]!, high };
}

function contains({ low = 0, high = Number.POSITIVE_INFINITY }: Interval, { alpha, sigma }: NoiseLevel): boolean {
  const ratio = sigma / alpha;
  return ratio > low && ratio <= high;
}
