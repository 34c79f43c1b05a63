import { type Denoiser, InvalidArgumentError, type NoiseLevels } from '@mezzotint/core';
import { classifierFree } from './classifier-free.js';
import type { Scale } from './scale.js';
import type { TwoPassOptions } from './two-pass.js';

/** Settings of CFG++. */
export interface PlusPlusOptions<C> extends TwoPassOptions<C> {
  /** The paper's lambda in [0, 1]: the share of the conditional estimate. */
  readonly lambda: number;
  /** The table of the run: what CFG++ does to a step depends on where the step goes. */
  readonly table: NoiseLevels;
}

/**
 * CFG++ (Chung et al. 2024, arXiv 2406.08070), algorithm 2: a DDIM step from the guided estimate u + lambda (c - u), put
 * back to noise with the *unconditional* eps. On x0 estimates that is classifier-free guidance with the scale of
 * `plusPlusScale`, so the numbers are the paper's with solvers of one estimate a step that start at the table's rows
 * (ddim, euler); with others it is the same scale.
 *
 * @throws InvalidArgumentError (when called) at a level that is not a row of the table
 */
export function plusPlus<C>(
  denoiser: Denoiser<C>,
  { lambda, table, ...options }: PlusPlusOptions<NoInfer<C>>,
): Denoiser<C> {
  return classifierFree(denoiser, { ...options, scale: plusPlusScale(lambda, table) });
}

/**
 * The scale that makes a DDIM step one of CFG++: lambda / (1 - r' / r), r and r' the noise ratios sigma / alpha of the
 * row and of the next. From x' = alpha' (u + lambda (c - u)) + sigma' (x - alpha u) / sigma.
 */
export function plusPlusScale(lambda: number, { alpha, sigma }: NoiseLevels): Scale {
  return (at) => {
    const row = sigma.findIndex((s, i) => s === at.sigma && alpha[i] === at.alpha);
    if (row < 0 || row === sigma.length - 1) {
      throw new InvalidArgumentError(
        'plusPlus',
        `alpha ${at.alpha}, sigma ${at.sigma} is no row that a step of the table starts from: give it the table of the run and a solver that keeps to its rows`,
      );
    }
    const shrink = (sigma[row + 1]! * at.alpha) / (alpha[row + 1]! * at.sigma);
    return lambda / (1 - shrink);
  };
}
