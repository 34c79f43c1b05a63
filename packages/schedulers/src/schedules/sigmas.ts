import { InvalidArgumentError } from '@mezzotint/core';
import { betaQuantile } from './beta-distribution.js';

/** Where a sequence of noise levels starts and ends; sigma is per unit of signal (sigma / alpha). */
export interface SigmaRange {
  /** Number of steps n; the answer has n + 1 values, the last 0. */
  readonly steps: number;
  readonly min: number;
  readonly max: number;
}

/**
 * sigma_i = (max^(1/rho) + i/(n-1) (min^(1/rho) - max^(1/rho)))^rho, then 0. Karras et al. 2022, eq. 5.
 *
 * @throws InvalidArgumentError when not 0 < min < max (with one step they may be equal)
 */
export function karrasSigmas({ rho = 7, ...range }: SigmaRange & { readonly rho?: number }): Float64Array {
  const { min, max } = range;
  const [a, b] = [max ** (1 / rho), min ** (1 / rho)];
  return sigmas('karrasSigmas', range, (u) => (a + u * (b - a)) ** rho);
}

/** Evenly spaced in log sigma, then 0. */
export function exponentialSigmas({ steps, min, max }: SigmaRange): Float64Array {
  return polyexponentialSigmas({ steps, min, max });
}

/** log sigma = (1 - u)^rho (log max - log min) + log min, u = i/(n-1), then 0. rho 1 is exponential. k-diffusion. */
export function polyexponentialSigmas({ rho = 1, ...range }: SigmaRange & { readonly rho?: number }): Float64Array {
  const [a, b] = [Math.log(range.max), Math.log(range.min)];
  return sigmas('polyexponentialSigmas', range, (u) => Math.exp((1 - u) ** rho * (a - b) + b));
}

/**
 * Lu's levels: evenly spaced in lambda = -log sigma, then 0. DPM-Solver (Lu et al. 2022), section 3.4 ("logSNR"); the
 * same numbers as `exponentialSigmas`, under the name that users of diffusers know (use_lu_lambdas).
 */
export function luSigmas(range: SigmaRange): Float64Array {
  return exponentialSigmas(range);
}

/**
 * Quantiles of a beta distribution between max and min, then 0: many steps at both ends. "Beta Sampling is All You
 * Need" (Lee et al. 2024).
 *
 * @param shape alpha and beta of the distribution, 0.6 each
 */
export function betaSigmas({
  alpha = 0.6,
  beta = 0.6,
  ...range
}: SigmaRange & { readonly alpha?: number; readonly beta?: number }): Float64Array {
  const { min, max } = range;
  return sigmas('betaSigmas', range, (u) => min + betaQuantile(1 - u, alpha, beta) * (max - min));
}

/** The continuous VP chain that `vpSigmas` samples. */
export interface VpOptions {
  readonly steps: number;
  /** Slope of beta(t); 19.9. */
  readonly betaD?: number;
  /** beta(0); 0.1. */
  readonly betaMin?: number;
  /** Last time before 0; 1e-3. */
  readonly epsilon?: number;
}

/**
 * sigma(t) = sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1), t evenly from 1 to epsilon, then 0. Score SDE (Song et al.
 * 2021), appendix C, in the form of Karras et al. 2022, table 1.
 */
export function vpSigmas({ steps, betaD = 19.9, betaMin = 0.1, epsilon = 1e-3 }: VpOptions): Float64Array {
  const sigma = (t: number) => Math.sqrt(Math.expm1((betaD * t * t) / 2 + betaMin * t));
  return sigmas('vpSigmas', { steps, min: sigma(epsilon), max: sigma(1) }, (u) => sigma(1 + u * (epsilon - 1)));
}

/** n values of a curve on u = i/(n-1) in [0, 1], then 0. */
function sigmas(who: string, range: SigmaRange, curve: (u: number) => number): Float64Array {
  checkRange(who, range);
  const { steps } = range;
  return Float64Array.from({ length: steps + 1 }, (_, i) => {
    if (i === steps) return 0;
    return curve(steps === 1 ? 0 : i / (steps - 1));
  });
}

function checkRange(who: string, { steps, min, max }: SigmaRange): void {
  const problems: string[] = [];
  if (!Number.isInteger(steps) || steps < 1) problems.push(`steps must be an integer of at least 1, got ${steps}`);
  if (!(0 < min && (min < max || (steps === 1 && min === max)) && Number.isFinite(max)))
    problems.push(`expected 0 < min < max, got min ${min}, max ${max}`);
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}
