import * as tf from '@tensorflow/tfjs-core';

/**
 * Adaptive scale and shift of normalised tokens: x (1 + scale) + shift. x `[N, T, D]`, shift and scale `[N, 1, D]`, the same
 * for all tokens of an image. Perez et al. 2018 (FiLM); DiT (Peebles and Xie 2022), section 3.2, adaLN.
 */
export function modulate(x: tf.Tensor3D, shift: tf.Tensor3D, scale: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => tf.add(tf.mul(x, tf.add(scale, 1)), shift));
}
