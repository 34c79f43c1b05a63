import * as tf from '@tensorflow/tfjs-core';

/** An image of the reference, `[N, C, H, W]`, as ours, `[N, H, W, C]`. */
export function toChannelsLast(x: tf.Tensor): tf.Tensor4D {
  return tf.transpose(x as tf.Tensor4D, [0, 2, 3, 1]);
}

/** An image of ours, `[N, H, W, C]`, as the reference's, `[N, C, H, W]`. */
export function toChannelsFirst(x: tf.Tensor): tf.Tensor4D {
  return tf.transpose(x as tf.Tensor4D, [0, 3, 1, 2]);
}
