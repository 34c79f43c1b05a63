import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Scale, scaleAt } from './scale.js';

/**
 * Guidance that was distilled into the network, which takes the scale as one more input: FLUX.1 dev, SDXL-LCM. Meng et
 * al. 2022 (arXiv 2210.03142), stage one. One pass.
 *
 * @param withGuidance puts the scale, `[N]` float32, into the condition; the tensor lives until the denoiser returns
 */
export function distilledGuidance<C, G>(
  denoiser: Denoiser<G>,
  { scale, withGuidance }: { readonly scale: Scale; readonly withGuidance: (cond: C, guidance: tf.Tensor1D) => G },
): Denoiser<C> {
  return (x, at, cond) =>
    tf.tidy(() => {
      const guidance = tf.tensor1d(new Float32Array(x.shape[0]).fill(scaleAt(scale, at)));
      return tf.clone(denoiser(x, at, withGuidance(cond, guidance)));
    });
}
