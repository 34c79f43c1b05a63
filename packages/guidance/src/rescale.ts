import * as tf from '@tensorflow/tfjs-core';
import { deviationPerImage } from './per-image.js';
import type { Combination } from './two-pass.js';

/**
 * Brings the standard deviation of each guided image back to that of the conditional one, in the share `rescale`:
 * g' = g (rescale std(c) / std(g) + 1 - rescale). Lin et al. 2024 (arXiv 2305.08891), eq. 15 and 16, who do it on the
 * network's prediction: give `guided` that `prediction` for their numbers.
 */
export function combineRescaled(combine: Combination, rescale: number): Combination {
  return (c, u, at) =>
    tf.tidy(() => {
      const guided = combine(c, u, at);
      const ratio = tf.div(deviationPerImage(c), deviationPerImage(guided)); //       [N, 1, 1, 1]
      return tf.mul(guided, tf.add(tf.mul(ratio, rescale), 1 - rescale));
    });
}
