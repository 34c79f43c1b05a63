import * as tf from '@tensorflow/tfjs-core';

/**
 * (x - centre)^2 with a centre that broadcasts, in one pass. While it is itself recorded, in two: TensorFlow.js's
 * gradient of `squaredDifference` forgets to sum over what was broadcast.
 */
export function squaredDistance(x: tf.Tensor, centre: tf.Tensor): tf.Tensor {
  const { gradientDepth, kernelDepth } = tf.engine().state;
  const taped = gradientDepth > 0 && kernelDepth === 0;
  return taped ? tf.square(tf.sub(x, centre)) : tf.squaredDifference(x, centre);
}

/** Sum over each row of x `[R, C]`, weighted by w `[C]` where given, `[R, 1]`: a product with a vector, no pass that writes. */
export function rowDot(x: tf.Tensor, w: tf.Tensor | undefined): tf.Tensor {
  return w === undefined ? tf.sum(x, 1, true) : tf.matMul(x as tf.Tensor2D, tf.reshape(w, [-1, 1]) as tf.Tensor2D);
}

/** Sum over the rows of x `[R, C]`, `[C]`. */
export function columnSum(x: tf.Tensor): tf.Tensor {
  return tf.sum(x, 0);
}
