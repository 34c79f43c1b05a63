import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** Settings of classifier-free guidance. */
export interface ClassifierFreeOptions<C> {
  /**
   * Guidance scale: 1 is the conditional model as it is, 0 the unconditional one, more than 1 sharpens. The lecture and
   * Ho & Salimans write w with scale = 1 + w.
   */
  readonly scale: number;
  /** What the model is given instead of the condition: its null label, the empty or a negative prompt. */
  readonly unconditional: C;
}

/**
 * Classifier-free guidance with two passes: D = D(uncond) + scale (D(cond) - D(uncond)). Ho & Salimans 2022, eq. 6, on
 * x0 estimates (the same combination as on eps, since x0 is affine in eps at a fixed x).
 *
 * @returns a denoiser of x `[N, H, W, C]`; at scale 1 the unconditional pass is not run
 */
export function classifierFree<C>(denoiser: Denoiser<C>, { scale, unconditional }: ClassifierFreeOptions<C>): Denoiser<C> {
  if (scale === 1) return denoiser;
  return (x, at, cond) =>
    tf.tidy(() => combine(denoiser(x, at, cond), denoiser(x, at, unconditional), scale)) as tf.Tensor4D;
}

/**
 * Classifier-free guidance in one pass over a batch of twice the size: `[conditional; unconditional]`.
 *
 * @param join puts two conditions one after the other along the batch
 */
export function classifierFreeBatched<C>(
  denoiser: Denoiser<C>,
  { scale, unconditional, join }: ClassifierFreeOptions<C> & { readonly join: (cond: C, unconditional: C) => C },
): Denoiser<C> {
  if (scale === 1) return denoiser;
  return (x, at, cond) =>
    tf.tidy(() => {
      const both = denoiser(tf.concat([x, x], 0), at, join(cond, unconditional)); //  [2N, H, W, C]
      const [conditional, free] = tf.split(both, 2, 0) as [tf.Tensor4D, tf.Tensor4D]; // [N, H, W, C] each
      return combine(conditional, free, scale);
    });
}

/** free + scale (conditional - free). */
function combine(conditional: tf.Tensor4D, free: tf.Tensor4D, scale: number): tf.Tensor4D {
  return tf.add(free, tf.mul(tf.sub(conditional, free), scale));
}
