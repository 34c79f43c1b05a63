import { type Denoiser, InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Scale, scaleAt } from './scale.js';

/** One of several conditions of a picture. */
export interface Part<C> {
  readonly cond: C;
  /** Guidance scale of this condition; negative keeps away from it. */
  readonly scale: Scale;
  /** Where it holds: weights that broadcast to x, for example `[1, H, W, 1]` in [0, 1]; everywhere when left out. */
  readonly mask?: tf.Tensor4D | undefined;
}

/** One region of a picture. */
export interface Region<C> {
  readonly cond: C;
  /** How much this region's estimate counts at each pixel: weights that broadcast to x, not negative. */
  readonly mask: tf.Tensor4D;
}

/**
 * Composes conditions: D = u + sum_i s_i m_i (D(cond_i) - u). Composable diffusion (Liu et al. 2022, arXiv 2206.01714),
 * conjunction and negation, with a mask for each condition.
 *
 * @returns a denoiser of x `[N, H, W, C]` whose condition is the list of parts; one pass each and one unconditional
 */
export function composed<C>(denoiser: Denoiser<C>, unconditional: NoInfer<C>): Denoiser<readonly Part<C>[]> {
  return (x, at, parts) =>
    tf.tidy(() => {
      const free = denoiser(x, at, unconditional);
      return parts.reduce<tf.Tensor4D>((sum, { cond, scale, mask }) => {
        const change = tf.mul<tf.Tensor4D>(tf.sub(denoiser(x, at, cond), free), scaleAt(scale, at));
        return tf.add(sum, mask ? tf.mul(change, mask) : change);
      }, tf.clone(free));
    });
}

/**
 * Each region of the picture by its own condition: D = sum_i m_i D(cond_i) / sum_i m_i. The denoiser may itself be
 * guided. MultiDiffusion (Bar-Tal et al. 2023, arXiv 2302.08113), on x0 estimates.
 *
 * @returns a denoiser of x `[N, H, W, C]` whose condition is the list of regions, whose masks must cover every pixel
 * @throws InvalidArgumentError (when called) without regions
 */
export function regional<C>(denoiser: Denoiser<C>): Denoiser<readonly Region<C>[]> {
  return (x, at, regions) => {
    if (regions.length === 0) throw new InvalidArgumentError('regional', 'expected at least one region, got none');
    return tf.tidy(() => {
      const parts = regions.map(({ cond, mask }) => tf.mul<tf.Tensor4D>(denoiser(x, at, cond), mask));
      const cover = tf.addN(regions.map(({ mask }) => tf.mul<tf.Tensor4D>(mask, tf.onesLike(x))));
      return tf.div(tf.addN(parts), cover);
    });
  };
}
