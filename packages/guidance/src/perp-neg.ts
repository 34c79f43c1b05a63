import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { along } from './per-image.js';
import { type Scale, scaleAt } from './scale.js';

/** Settings of Perp-Neg. */
export interface PerpNegOptions<C> {
  readonly scale: Scale;
  /** The null label or the empty prompt. */
  readonly unconditional: C;
  /** What the picture is not to show, and how much (positive). */
  readonly negatives: readonly { readonly cond: C; readonly weight: Scale }[];
}

/**
 * u + s (p - sum_i w_i n_i'), p = D(cond) - u, n_i' the part of D(negative_i) - u that is perpendicular to p: a negative
 * prompt that overlaps with the wanted one does not take it away. Perp-Neg (Armandpour et al. 2023, arXiv 2304.04968).
 *
 * @returns a denoiser of x `[N, H, W, C]`; 2 passes and one for each negative
 */
export function perpNeg<C>(
  denoiser: Denoiser<C>,
  { scale, unconditional, negatives }: PerpNegOptions<NoInfer<C>>,
): Denoiser<C> {
  return (x, at, cond) =>
    tf.tidy(() => {
      const conditional = denoiser(x, at, cond);
      const free = denoiser(x, at, unconditional);
      const wanted = tf.sub<tf.Tensor4D>(conditional, free);
      const direction = negatives.reduce<tf.Tensor4D>((sum, { cond: negative, weight }) => {
        const negativeOffset = tf.sub<tf.Tensor4D>(denoiser(x, at, negative), free);
        return tf.sub(sum, tf.mul(tf.sub(negativeOffset, along(negativeOffset, wanted)), scaleAt(weight, at)));
      }, wanted);
      return tf.add(free, tf.mul(direction, scaleAt(scale, at)));
    });
}
