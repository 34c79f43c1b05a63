import * as tf from '@tensorflow/tfjs-core';
import { type Gaussian, klToNormal } from '../gaussian.js';

/**
 * KL(q(z|x) || N(0, I)), the mean over the images, in nats an element of the image: divide by H W C = `elements`, as
 * `l1Loss` and `l2Loss` do, and the weight does not depend on the size. Rombach et al. 2022, eq. 25, use about 1e-6.
 */
export function klLoss(gaussian: Gaussian, elements: number): tf.Scalar {
  return tf.tidy(() => tf.div(tf.mean(klToNormal(gaussian)), elements));
}
