import { stopGradient } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

export interface VqLossOptions {
  /** beta, the weight of the commitment loss; 0.25 when absent. */
  readonly commitment?: number;
}

/** ||sg(z) - e||^2, the mean over all elements: moves the codebook to what the encoder gives. van den Oord et al. 2017, eq. 3. */
export function codebookLoss(z: tf.Tensor4D, codes: tf.Tensor4D): tf.Scalar {
  return tf.tidy(() => meanSquareTowards(codes, z));
}

/** ||z - sg(e)||^2, the mean over all elements: keeps the encoder at its code. van den Oord et al. 2017, eq. 3. */
export function commitmentLoss(z: tf.Tensor4D, codes: tf.Tensor4D): tf.Scalar {
  return tf.tidy(() => meanSquareTowards(z, codes));
}

/**
 * ||sg(z) - e||^2 + beta ||z - sg(e)||^2, means over all elements: what van den Oord et al. 2017, eq. 3, adds to the
 * reconstruction loss. z `[N, h, w, D]`, codes = `quantize.lookup(quantize.nearest(z))`. With an `EmaCodebook`, use
 * `commitmentLoss` alone.
 */
export function vqLoss(z: tf.Tensor4D, codes: tf.Tensor4D, { commitment = 0.25 }: VqLossOptions = {}): tf.Scalar {
  return tf.tidy(() => tf.add(codebookLoss(z, codes), tf.mul(commitmentLoss(z, codes), commitment)));
}

/** mean (x - sg(target))^2. */
function meanSquareTowards(x: tf.Tensor4D, target: tf.Tensor4D): tf.Scalar {
  return tf.mean(tf.square(tf.sub(x, stopGradient(target))));
}
