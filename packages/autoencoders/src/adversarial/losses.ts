import * as tf from '@tensorflow/tfjs-core';

/** (mean relu(1 - D(x)) + mean relu(1 + D(y))) / 2 of the logits of real and of decoded images. Lim and Ye 2017; VQGAN. */
export function hingeDiscriminatorLoss(real: tf.Tensor4D, decoded: tf.Tensor4D): tf.Scalar {
  return tf.tidy(() => {
    const missed = tf.mean(tf.relu(tf.sub(1, real)));
    const fooled = tf.mean(tf.relu(tf.add(1, decoded)));
    return tf.mul(tf.add(missed, fooled), 0.5);
  });
}

/**
 * (mean softplus(-D(x)) + mean softplus(D(y))) / 2 of the logits of real and of decoded images: cross-entropy. Goodfellow
 * et al. 2014, eq. 1; VQGAN's `vanilla`.
 */
export function vanillaDiscriminatorLoss(real: tf.Tensor4D, decoded: tf.Tensor4D): tf.Scalar {
  return tf.tidy(() => {
    const missed = tf.mean(tf.softplus(tf.neg(real)));
    const fooled = tf.mean(tf.softplus(decoded));
    return tf.mul(tf.add(missed, fooled), 0.5);
  });
}

/** -mean D(y) of the logits of decoded images: what the decoder minimises, whichever loss the discriminator has (VQGAN). */
export function generatorLoss(decoded: tf.Tensor4D): tf.Scalar {
  return tf.tidy(() => tf.neg(tf.mean<tf.Scalar>(decoded)));
}
