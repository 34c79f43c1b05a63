import { type Conv2d, conv2d } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';

/** The two losses of a decoded image that are weighed against each other. */
export interface AdversarialTerms {
  /** How far the image is from what it should be (L1, LPIPS, ...). */
  readonly reconstruction: (decoded: tf.Tensor4D) => tf.Scalar;
  /** How far it is from fooling the discriminator, such as `(y) => generatorLoss(discriminator.forward(y))`. */
  readonly adversarial: (decoded: tf.Tensor4D) => tf.Scalar;
}

export interface AdversarialOptions {
  /** Factor of the adversarial term beside lambda; 0.5 when absent. 0 before the discriminator has started. */
  readonly weight?: number;
  /** False: lambda is 1. True when absent. */
  readonly adaptive?: boolean;
  /** The largest lambda; 1e4 when absent. */
  readonly maxLambda?: number;
  /** Shown the parts of the loss, for logs; `adversarial` and `lambda` only when the weight is not 0. Keep what you keep. */
  readonly observe?: (parts: {
    readonly reconstruction: tf.Scalar;
    readonly adversarial?: tf.Scalar;
    readonly lambda?: tf.Scalar;
  }) => void;
}

/**
 * L_rec + weight lambda L_adv with lambda = |dL_rec / dw| / (|dL_adv / dw| + 1e-4), where w is the kernel of the
 * decoder's last convolution: both terms move the decoder equally hard. VQGAN (Esser et al. 2021), eq. 7, with the 1e-4
 * of its code (the paper: 1e-6); lambda is a number, no gradient goes through it.
 *
 * Both terms run once forward and once backward, each for the decoded image alone; the recorded graph of the caller
 * only sees their gradient at that image.
 *
 * @param features what the last convolution sees, `model.decoderFeatures(z)`, `[N, H, W, C0]`
 * @param last the last convolution, `model.decoder.conv_out`
 * @returns the loss; its gradient goes to `features` and the last convolution
 */
export function adversarialLoss(
  features: tf.Tensor4D,
  last: Conv2d,
  { reconstruction, adversarial }: AdversarialTerms,
  { weight = 0.5, adaptive = true, maxLambda = 1e4, observe }: AdversarialOptions = {},
): tf.Scalar {
  return tf.tidy(() => {
    const decoded = last.forward(features); //                                        [N, H, W, outChannels]
    const rec = tf.valueAndGrad((y: tf.Tensor4D) => reconstruction(y))(decoded);
    const recValue = rec.value as tf.Scalar;
    if (weight === 0) {
      observe?.({ reconstruction: recValue });
      return surrogate(decoded, recValue, rec.grad);
    }
    const adv = tf.valueAndGrad((y: tf.Tensor4D) => adversarial(y))(decoded);
    const norm = (dy: tf.Tensor4D) => kernelNorm(features, last, dy);
    const lambda = adaptive
      ? (tf.clipByValue(tf.div(norm(rec.grad), tf.add(norm(adv.grad), 1e-4)), 0, maxLambda) as tf.Scalar)
      : tf.scalar(1);
    observe?.({ reconstruction: recValue, adversarial: adv.value as tf.Scalar, lambda });
    const share = tf.mul(lambda, weight);
    const value = tf.add<tf.Scalar>(recValue, tf.mul(share, adv.value));
    return surrogate(decoded, value, tf.add(rec.grad, tf.mul(share, adv.grad)));
  });
}

/** |dL / dw| for the kernel w of `last`, from dL / dy at its output. */
function kernelNorm(features: tf.Tensor4D, last: Conv2d, dy: tf.Tensor4D): tf.Tensor {
  const { stride, padding } = last;
  const through = (kernel: tf.Tensor) => tf.sum(tf.mul(conv2d(features, kernel, null, { stride, padding }), dy));
  // A copy: dy was made with the kernel itself, and that path is not meant.
  return tf.norm(tf.grad(through)(tf.clone(last.weight.value)));
}

/** The number `value` as a function of `y` whose gradient is known to be `gradient`. */
function surrogate(y: tf.Tensor4D, value: tf.Scalar, gradient: tf.Tensor4D): tf.Scalar {
  return tf.customGrad((_, save) => {
    (save as unknown as (tensors: tf.Tensor[]) => void)([gradient]);
    return {
      value: tf.clone(value),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(saved[0]!, dy),
    };
  })(y) as tf.Scalar;
}
