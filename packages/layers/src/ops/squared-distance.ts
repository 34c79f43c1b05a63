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
