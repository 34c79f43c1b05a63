import type { Denoiser, VarianceDenoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Guides the x0 estimate of a network with learned variance and keeps the variance of its first pass (the
 * conditional one, but for `composed`), as ADM samples with guidance: `guideVariance(d, (d) => classifierFree(d, options))`.
 */
export function guideVariance<C>(
  denoiser: VarianceDenoiser<C>,
  guide: (denoiser: Denoiser<C>) => Denoiser<C>,
): VarianceDenoiser<C> {
  return (x, at, cond) => {
    // The conditional pass is the first one (the first half of a batched one). Its shares must outlive guidance's tidy.
    let shares: tf.Tensor4D | undefined;
    try {
      const x0 = guide((noisy, level, c) => {
        const said = denoiser(noisy, level, c);
        shares ??= tf.keep(tf.clone(said.interpolation));
        tf.dispose(said.interpolation);
        return said.x0;
      })(x, at, cond);
      return { x0, interpolation: tf.slice(shares!, 0, x.shape[0]) };
    } finally {
      tf.dispose(shares);
    }
  };
}
