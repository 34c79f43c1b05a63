import * as tf from '@tensorflow/tfjs-core';

/** mean |y - x| over all elements. */
export function l1Loss(y: tf.Tensor4D, x: tf.Tensor4D): tf.Scalar {
  return tf.tidy(() => tf.mean(tf.abs(tf.sub(y, x))));
}

/** mean (y - x)^2 over all elements. */
export function l2Loss(y: tf.Tensor4D, x: tf.Tensor4D): tf.Scalar {
  return tf.tidy(() => tf.mean(tf.square(tf.sub(y, x))));
}
