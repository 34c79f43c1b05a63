import * as tf from '@tensorflow/tfjs-core';

/** What is added to the score of a position that must not be seen: its weight is exactly 0 after the softmax. */
export const HIDDEN = -1e9;

/** Additive mask `[1, 1, T, T]` with which a position sees itself and what is before it. */
export function causalMask(length: number): tf.Tensor4D {
  const mask = new Float32Array(length * length);
  for (let query = 0; query < length; query++) mask.fill(HIDDEN, query * length + query + 1, (query + 1) * length);
  return tf.tensor4d(mask, [1, 1, length, length]);
}
