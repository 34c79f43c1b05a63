import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * -log softmax(logits)[label] of each example, nats, `[N]`.
 *
 * @param logits `[N, K]`
 * @param labels int32 `[N]` in [0, K)
 */
export function crossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor1D {
  return tf.tidy(() => {
    const classes = tf.range(0, logits.shape[1], 1, 'int32');
    const truth = tf.cast(tf.equal(tf.expandDims(labels, 1), classes), 'float32'); // tf.oneHot wants two classes
    return tf.neg(tf.sum<tf.Tensor1D>(tf.mul(truth, tf.logSoftmax(logits)), 1));
  });
}

/**
 * CLIP's symmetric loss (Radford et al. 2021, figure 3): with the cosine similarities s_ij of image i and text j, times
 * `scale`, the mean of the cross-entropies of rows and of columns against the diagonal. One number a pair, `[N]`; it grows with N, and is 0
 * for a pair alone.
 *
 * @param images features `[N, D]`, of any length
 * @param texts features `[N, D]`
 * @param scale exp of the learned temperature, a scalar or a number
 */
export function contrastiveLoss(images: tf.Tensor2D, texts: tf.Tensor2D, scale: tf.Scalar | number): tf.Tensor1D {
  if (String(images.shape) !== String(texts.shape)) {
    throw new InvalidArgumentError(
      'contrastiveLoss',
      `expected as many images as texts of one width, got [${images.shape}] and [${texts.shape}]`,
    );
  }
  return tf.tidy(() => {
    const unit = (x: tf.Tensor2D) => tf.div<tf.Tensor2D>(x, tf.add(tf.norm(x, 2, 1, true), 1e-12));
    const logits = tf.mul<tf.Tensor2D>(tf.matMul(unit(images), unit(texts), false, true), scale); // [N, N]
    const diagonal = tf.range(0, images.shape[0], 1, 'int32') as tf.Tensor1D;
    const both = tf.add(crossEntropy(logits, diagonal), crossEntropy(tf.transpose(logits), diagonal));
    return tf.mul(both, 0.5);
  });
}
