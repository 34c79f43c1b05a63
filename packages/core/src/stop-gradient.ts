import * as tf from '@tensorflow/tfjs-core';

/** The same values, through which no gradient flows. */
export function stopGradient<T extends tf.Tensor>(x: T): T {
  return tf.customGrad((value) => ({
    value: tf.clone(value as tf.Tensor),
    gradFunc: (dy: tf.Tensor) => tf.zerosLike(dy),
  }))(x) as T;
}

/**
 * What `body` gives, as a constant: no gradient flows through it, and none of its operations is recorded, so that it costs a
 * forward pass and no more (`stopGradient` behind recorded operations costs their backward pass too).
 */
export function withoutGradient<T extends tf.Tensor>(body: () => T): T {
  return tf.customGrad(() => ({ value: tf.tidy(() => tf.clone(body())), gradFunc: () => [] }))() as T;
}
