import type { NoiseLevel } from '@mezzotint/core';
import type { DiscreteProcess } from './process.js';

/** The time that a network is told for a noise level. */
export type TimeOf = (at: NoiseLevel) => number;

/** How a discrete forward process's clock treats levels between its own. */
export interface DiscreteTimeOptions {
  /** Round to a whole index; needed by networks that look their time up in a table. */
  readonly whole?: boolean;
  /** `float32` rounds the logarithms of the forward process, as diffusers does: it decides where times are cut off. `float64`. */
  readonly precision?: 'float64' | 'float32';
}

/**
 * The clock of a network trained on a discrete forward process: the index t, linear in log(sigma / alpha) between whole ones and
 * held at the ends. k-diffusion and diffusers call it sigma_to_t.
 */
export function discreteTime(
  { alpha, sigma }: DiscreteProcess,
  { whole = false, precision = 'float64' }: DiscreteTimeOptions = {},
): TimeOf {
  const round = precision === 'float32' ? Math.fround : (x: number) => x;
  const logRatio = alpha.map((a, t) => round(Math.log(round(sigma[t]! / a))));
  const last = logRatio.length - 1;
  return (at) => {
    const wanted = Math.log(at.sigma / at.alpha);
    let low = 0;
    let high = last;
    if (!(wanted > logRatio[low]!)) return low;
    if (wanted >= logRatio[high]!) return high;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (logRatio[middle]! <= wanted) low = middle;
      else high = middle;
    }
    const span = logRatio[high]! - logRatio[low]!;
    const time = low + (Number.isFinite(span) ? (wanted - logRatio[low]!) / span : 0);
    return whole ? Math.round(time) : time;
  };
}

/** The clock of a flow network: time = scale sigma / (alpha + sigma). SD3 and FLUX train with scale 1000. */
export function flowTime(scale = 1000): TimeOf {
  return ({ alpha, sigma }) => (scale * sigma) / (alpha + sigma);
}

/** EDM's noise conditioning: c_noise = log(sigma / alpha) / 4. Karras et al. 2022, table 1. */
export const edmTime: TimeOf = ({ alpha, sigma }) => Math.log(sigma / alpha) / 4;
