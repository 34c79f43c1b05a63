import type { RandomStream } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * A Gaussian with independent elements for each latent pixel. `mean`, which is also the mode, and `logvar`, the natural
 * logarithm of the variance, in [-30, 20], are `[N, h, w, C]` and the caller's to dispose (`tf.dispose(gaussian)`).
 */
export type Gaussian = { readonly mean: tf.Tensor4D; readonly logvar: tf.Tensor4D };

/** The two halves of `[N, h, w, 2C]`, the log-variance clamped to [-30, 20]. Latent diffusion (Rombach et al. 2022). */
export function gaussianOf(moments: tf.Tensor4D): Gaussian {
  return tf.tidy(() => {
    const [mean, logvar] = tf.split(moments, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    return { mean, logvar: tf.clipByValue(logvar, -30, 20) };
  });
}

/**
 * mean + exp(logvar / 2) eps, with eps ~ N(0, I) drawn from `rng` in the order of `[N, C, h, w]`, so that a seeded
 * stream gives what it gives in PyTorch. The gradient goes to both (Kingma and Welling 2014, section 2.4).
 */
export function sampleGaussian({ mean, logvar }: Gaussian, rng: RandomStream): tf.Tensor4D {
  return tf.tidy(() => {
    const [n, height, width, c] = mean.shape;
    const eps = tf.transpose(tf.tensor4d(rng.randn(mean.size), [n, c, height, width]), [0, 2, 3, 1]);
    return tf.add(mean, tf.mul(tf.exp(tf.mul(logvar, 0.5)), eps));
  });
}

/**
 * KL(N(mean, var) || N(0, I)) = sum (mean^2 + var - 1 - logvar) / 2 over the elements of each image, `[N]`, in nats.
 * Kingma and Welling 2014, appendix B.
 */
export function klToNormal({ mean, logvar }: Gaussian): tf.Tensor1D {
  return tf.tidy(() => {
    const terms = tf.sub(tf.sub(tf.add(tf.square(mean), tf.exp(logvar)), 1), logvar);
    return tf.mul(tf.sum(terms, [1, 2, 3]), 0.5);
  });
}
