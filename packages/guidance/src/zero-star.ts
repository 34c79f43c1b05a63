import { type Denoiser, InvalidArgumentError } from '@mezzotint/core';
import { flow } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { finishedCombination, isNeutral, type ScaleOptions } from './classifier-free.js';
import { dotPerImage } from './per-image.js';
import { scaleAt } from './scale.js';
import { type Combination, guided, type PredictionOption, type TwoPassOptions } from './two-pass.js';

/** Settings of CFG-Zero*. */
export interface ZeroStarOptions<C> extends TwoPassOptions<C>, ScaleOptions, PredictionOption {
  /** As in classifier-free guidance: 0. */
  readonly rescale?: number | undefined;
  /** As in classifier-free guidance: all. */
  readonly channels?: number | undefined;
  /**
   * The velocity is taken as 0 at noise ratios sigma / alpha above this: `intervalOfSteps(table, 0, k - 1).low` for the
   * paper's first k steps. Never when left out.
   */
  readonly zeroAbove?: number | undefined;
}

/**
 * u' + s (c - u') or c + s (c - u') with u' = (<c, u> / |u|^2) u for each image: the unconditional prediction at the
 * length that fits the conditional one best. CFG-Zero* (Fan et al. 2025, arXiv 2503.18886), the optimised scale.
 */
export function combineZeroStar({ scale, from = 'unconditional' }: ScaleOptions): Combination {
  return (c, u, at) =>
    tf.tidy(() => {
      const fit = tf.div(dotPerImage(c, u), tf.add(dotPerImage(u, u), 1e-8)); //      [N, 1, 1, 1]
      const fitted = tf.mul(u, fit);
      return tf.add(from === 'unconditional' ? fitted : c, tf.mul(tf.sub(c, fitted), scaleAt(scale, at)));
    });
}

/**
 * CFG-Zero* with zero-init: `combineZeroStar` on velocities, and no movement at all in the noisiest steps, where the
 * learned velocity is worse than none.
 *
 * @param options prediction, the velocity of flow matching when left out
 * @throws InvalidArgumentError (when called) where a prediction of 0 says nothing about x0, as that of eps at alpha = 0
 */
export function zeroStar<C>(
  denoiser: Denoiser<C>,
  { zeroAbove = Number.POSITIVE_INFINITY, prediction = flow, ...options }: ZeroStarOptions<NoInfer<C>>,
): Denoiser<C> {
  const combine = finishedCombination(combineZeroStar(options), options);
  const inside = guided(denoiser, combine, { ...options, prediction }, isNeutral(options));
  return (x, at, cond) => {
    if (!(at.sigma / at.alpha > zeroAbove)) return inside(x, at, cond);
    const { skip } = prediction(at);
    if (!Number.isFinite(skip)) {
      throw new InvalidArgumentError(
        'zeroStar',
        `a prediction of 0 says nothing about x0 at alpha ${at.alpha}, sigma ${at.sigma}: take no zero steps (zeroSteps 0), or another guidance`,
      );
    }
    return tf.tidy(() => tf.mul(x, skip)); // F = 0
  };
}
