import * as tf from '@tensorflow/tfjs-core';

/** KL(N(mean1, e^logVar1) || N(mean2, e^logVar2)) elementwise, nats. */
export function normalKl(mean1: tf.Tensor, logVar1: tf.Tensor, mean2: tf.Tensor, logVar2: tf.Tensor): tf.Tensor4D {
  return tf.tidy(() => {
    const ratio = tf.exp(tf.sub(logVar1, logVar2));
    const distance = tf.mul(tf.squaredDifference(mean1, mean2), tf.exp(tf.neg(logVar2)));
    return tf.mul<tf.Tensor4D>(tf.add(tf.sub(tf.add(tf.sub(logVar2, logVar1), ratio), 1), distance), 0.5);
  });
}

/**
 * -log P(x) elementwise, nats, of 8-bit images x in [-1, 1] under a Gaussian cut into bins of 2/255, the outer bins
 * open to infinity. DDPM (Ho et al. 2020), eq. 13; the normal's cumulative distribution by the tanh approximation and
 * the probabilities cut at 1e-12, as in the code of Improved DDPM.
 */
export function discretizedGaussianNll(x: tf.Tensor4D, mean: tf.Tensor, logStd: tf.Tensor): tf.Tensor4D {
  return tf.tidy(() => {
    const centred = tf.sub(x, mean);
    const inverse = tf.exp(tf.neg(logStd));
    const upper = normalCdf(tf.mul(inverse, tf.add(centred, 1 / 255)));
    const lower = normalCdf(tf.mul(inverse, tf.sub(centred, 1 / 255)));
    const safeLog = (p: tf.Tensor) => tf.log(tf.maximum(p, 1e-12));
    const logP = tf.where(
      tf.less(x, -0.999),
      safeLog(upper),
      tf.where(tf.greater(x, 0.999), safeLog(tf.sub(1, lower)), safeLog(tf.sub(upper, lower))),
    );
    return tf.neg(logP) as tf.Tensor4D;
  });
}

/** Phi(x) by 0.5 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). */
function normalCdf(x: tf.Tensor): tf.Tensor {
  const cubic = tf.mul(x, tf.add(tf.mul(tf.square(x), 0.044715), 1));
  return tf.mul(tf.add(tf.tanh(tf.mul(cubic, Math.sqrt(2 / Math.PI))), 1), 0.5);
}
