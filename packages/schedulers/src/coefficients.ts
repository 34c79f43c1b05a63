import type { NoiseLevel } from '@mezzotint/core';

/** A step that needs one estimate: x' = p x + q D + noise z, z standard normal. */
export interface StepWeights {
  readonly p: number;
  readonly q: number;
  readonly noise: number;
}

/**
 * The step of DDIM with eta = 0, which is Euler's of dx/dsigma in the form with alpha = 1: p = sigma' / sigma,
 * q = alpha' - alpha p. Exact at alpha = 0 and at sigma' = 0. Song et al. 2021, eq. 12.
 */
export function firstOrder(from: NoiseLevel, to: NoiseLevel): StepWeights {
  const p = to.sigma / from.sigma;
  return { p, q: to.alpha - from.alpha * p, noise: 0 };
}

/**
 * The step that keeps the marginals and draws a share of the noise anew: x' = alpha' D + sqrt(sigma'^2 - s^2) eps + s z.
 *
 * @param fresh s, standard deviation of the new noise
 */
export function renoised(from: NoiseLevel, to: NoiseLevel, fresh: number): StepWeights {
  const p = Math.sqrt(Math.max(to.sigma ** 2 - fresh ** 2, 0)) / from.sigma;
  return { p, q: to.alpha - from.alpha * p, noise: fresh };
}

/** The reverse step of the forward process, given x0. */
export interface Posterior {
  /** Mean = p x + q D. */
  readonly p: number;
  readonly q: number;
  /** Variance of q(x' | x, x0): beta tilde. */
  readonly small: number;
  /** Variance of the forward step q(x | x'): beta. */
  readonly large: number;
}

/**
 * q(x' | x, x0) of a forward process with these two levels. With a = alpha / alpha' and b = sigma^2 - a^2 sigma'^2 (the beta of
 * the step): mean = (a sigma'^2 x + alpha' b D) / sigma^2, variance = b sigma'^2 / sigma^2. DDPM, eq. 7, in the form
 * of Kingma et al. 2021, eq. 25-27, that needs no chain of single steps.
 */
export function posterior(from: NoiseLevel, to: NoiseLevel): Posterior {
  const a = from.alpha / to.alpha;
  const large = from.sigma ** 2 - a ** 2 * to.sigma ** 2;
  const whole = from.sigma ** 2;
  return {
    p: (a * to.sigma ** 2) / whole,
    q: (to.alpha * large) / whole,
    small: (large * to.sigma ** 2) / whole,
    large,
  };
}
