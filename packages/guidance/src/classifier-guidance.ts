import { type Denoiser, InvalidArgumentError, type NoiseLevel } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * log p(y | x) of a classifier that was trained on noisy images, for each image of the batch: `[N]`. Differentiable in
 * `x`, which stands at the noise level `at`.
 */
export type LogProbability<C> = (x: tf.Tensor4D, at: NoiseLevel, cond: C) => tf.Tensor1D;

/**
 * Classifier guidance: eps' = eps - sigma scale grad_x log p(y | x), which for the x0 estimate is
 * D' = D + scale (sigma^2 / alpha) grad_x log p(y | x). Dhariwal & Nichol 2021, eq. 14 and algorithm 2.
 *
 * @returns a denoiser of x `[N, H, W, C]`
 * @throws InvalidArgumentError at alpha = 0, where x holds nothing of x0 and the estimate cannot be moved through it
 */
export function classifierGuidance<C>(
  denoiser: Denoiser<C>,
  { scale, logProbability }: { readonly scale: number; readonly logProbability: LogProbability<C> },
): Denoiser<C> {
  if (scale === 0) return denoiser;
  return (x, at, cond) => {
    if (at.alpha === 0) {
      throw new InvalidArgumentError('classifierGuidance', 'alpha is 0 at this noise level: start at a level with alpha > 0');
    }
    return tf.tidy(() => {
      const gradient = tf.grad((noisy) => tf.sum(logProbability(noisy as tf.Tensor4D, at, cond)))(x); // [N, H, W, C]
      return tf.add(denoiser(x, at, cond), tf.mul(gradient, (scale * at.sigma ** 2) / at.alpha)) as tf.Tensor4D;
    });
  };
}
