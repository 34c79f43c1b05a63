import type { NoiseLevel } from '@mezzotint/core';
import { posterior, renoised } from '../coefficients.js';
import { DIFFUSION, type Solver, solver } from '../solver.js';
import { oneEstimate } from './first-order.js';

/** A step down past the row, and the fresh noise that leads back up to it. */
export interface AncestralSplit {
  /** Where the deterministic part goes; alpha is the row's. */
  readonly down: NoiseLevel;
  /** Standard deviation of the fresh noise. */
  readonly up: number;
}

/**
 * Splits a step so that the marginals stay: up = min(sigma', eta sqrt(beta tilde)), down^2 = sigma'^2 - up^2. k-diffusion,
 * get_ancestral_step.
 */
export function ancestralSplit(from: NoiseLevel, to: NoiseLevel, eta: number): AncestralSplit {
  if (eta === 0 || to.sigma === 0) return { down: to, up: 0 };
  const up = Math.min(to.sigma, eta * Math.sqrt(posterior(from, to).small));
  return { down: { alpha: to.alpha, sigma: Math.sqrt(to.sigma ** 2 - up ** 2) }, up };
}

/**
 * Euler down to a lower level, then fresh noise up to the row. k-diffusion, sample_euler_ancestral; with eta = 0 Euler,
 * and on the same noise the step of DDIM with this eta.
 *
 * @param options eta, the share of the largest fresh noise; 1
 */
export function eulerAncestral({ eta = 1 }: { readonly eta?: number } = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'euler-ancestral',
    kinds: DIFFUSION,
    stochastic: eta !== 0,
    step: (i, state, means) =>
      oneEstimate(i, state, means, (from, to) => renoised(from, to, ancestralSplit(from, to, eta).up)),
  });
}
