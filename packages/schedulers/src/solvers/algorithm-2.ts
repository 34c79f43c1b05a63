import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { posterior } from '../coefficients.js';
import { cosineLogSnr, logSnrSchedule } from '../schedules/log-snr.js';
import type { NoiseSchedule } from '../schedules/schedule.js';
import { DIFFUSION, type Solver, solver } from '../solver.js';
import { oneEstimate } from './first-order.js';

/**
 * Ancestral sampling with a variance between the two fixed ones: (beta tilde)^(1-v) beta^v. v = 0 is DDPM's small, v = 1 its
 * large. Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598), algorithm 2.
 *
 * @param options v; 0.3, the paper's value for ImageNet 64x64
 */
export function ddpmInterpolated({ v = 0.3 }: { readonly v?: number } = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'ddpm-interpolated',
    kinds: DIFFUSION,
    stochastic: true,
    step: (i, state, means) =>
      oneEstimate(i, state, means, (from, to) => {
        const { p, q, small, large } = posterior(from, to);
        return { p, q, noise: to.sigma === 0 ? 0 : Math.sqrt(small ** (1 - v) * large ** v) };
      }),
  });
}

/** The numbers of algorithm 2. */
export interface Algorithm2Options {
  /** T: number of steps. */
  readonly steps: number;
  /** w: guidance strength; 0 is no guidance. Other papers' scale is 1 + w. */
  readonly w: number;
  /** v: interpolation of the variance. */
  readonly v?: number;
  readonly minLogSnr?: number;
  readonly maxLogSnr?: number;
}

/**
 * Algorithm 2 of classifier-free guidance as the lecture prints it, in three parts for `run`: log-SNR levels
 * lambda_1 = lambda_min .. lambda_T = lambda_max at even steps of u in lambda = -2 log tan(a u + b); the guided noise
 * (1 + w) eps(z, c) - w eps(z), which is the same of the estimates of x0; and the ancestral step with interpolated variance,
 * whose last result is the estimate itself. x starts as standard normal noise, not scaled by sigma.
 *
 * @param model estimates with a condition
 * @param nothing what the condition is when there is none
 */
export function algorithm2<C>(
  model: Denoiser<C>,
  nothing: C,
  { steps, w, v = 0.3, minLogSnr = -20, maxLogSnr = 20 }: Algorithm2Options,
): {
  readonly solver: Solver<'vp' | 've', 'estimate'>;
  readonly model: Denoiser<C>;
  readonly table: NoiseSchedule<'vp'>;
} {
  const guided: Denoiser<C> = (x, at, cond) =>
    tf.tidy(() => tf.sub(tf.mul(model(x, at, cond), 1 + w), tf.mul(model(x, at, nothing), w)));
  return {
    solver: ddpmInterpolated({ v }),
    model: guided,
    table: logSnrSchedule(cosineLogSnr({ min: minLogSnr, max: maxLogSnr }), steps, { final: 'added' }),
  };
}
