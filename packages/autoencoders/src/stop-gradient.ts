import * as tf from '@tensorflow/tfjs-core';

/** The same values, through which no gradient flows. */
export function stopGradient<T extends tf.Tensor>(x: T): T {
  return tf.customGrad((value) => ({
    value: tf.clone(value as tf.Tensor),
    gradFunc: (dy: tf.Tensor) => tf.zerosLike(dy),
  }))(x) as T;
}
