import * as tf from '@tensorflow/tfjs-core';

/** The scalar product of each pair of images: `[N, H, W, C]` twice, `[N, 1, 1, 1]`. */
export function dotPerImage(a: tf.Tensor4D, b: tf.Tensor4D): tf.Tensor4D {
  return tf.sum<tf.Tensor4D>(tf.mul(a, b), [1, 2, 3], true);
}

/** The L2 norm of each image: `[N, H, W, C] -> [N, 1, 1, 1]`. */
export function normPerImage(a: tf.Tensor4D): tf.Tensor4D {
  return tf.sqrt(dotPerImage(a, a));
}

/** The standard deviation of each image's numbers: `[N, H, W, C] -> [N, 1, 1, 1]`. */
export function deviationPerImage(a: tf.Tensor4D): tf.Tensor4D {
  const centred = tf.sub<tf.Tensor4D>(a, tf.mean(a, [1, 2, 3], true));
  return tf.sqrt(tf.mean<tf.Tensor4D>(tf.square(centred), [1, 2, 3], true));
}

/** The part of each image of `a` along that of `b`: <a, b> b / |b|^2, 0 where b is 0. Both `[N, H, W, C]`. */
export function along(a: tf.Tensor4D, b: tf.Tensor4D): tf.Tensor4D {
  const unit = tf.div<tf.Tensor4D>(b, tf.maximum(normPerImage(b), 1e-12));
  return tf.mul(dotPerImage(a, unit), unit);
}
