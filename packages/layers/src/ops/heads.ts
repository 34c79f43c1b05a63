import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * The channels of each token, `[N, T, h d]`, as heads: `[N, h, T, d]`, for {@link attention}.
 *
 * @throws InvalidArgumentError when the heads do not divide the channels
 */
export function splitHeads(x: tf.Tensor3D, heads: number): tf.Tensor4D {
  const [n, t, width] = x.shape;
  if (width % heads !== 0) {
    throw new InvalidArgumentError('splitHeads', `expected ${heads} heads to divide the channels, got [${x.shape}]`);
  }
  return tf.tidy(() => tf.transpose(tf.reshape(x, [n, t, heads, width / heads]), [0, 2, 1, 3]));
}

/** `[N, h, T, d]` back to `[N, T, h d]`. */
export function joinHeads(x: tf.Tensor4D): tf.Tensor3D {
  const [n, heads, t, d] = x.shape;
  return tf.tidy(() => tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [n, t, heads * d]));
}
