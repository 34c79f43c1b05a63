import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Prior preservation: the mean loss of the first half of a batch, the pictures that are learned, plus `weight` times the mean loss of the
 * second half, pictures of the class as the model made them before. DreamBooth (Ruiz et al. 2023), eq. 2.
 *
 * @param losses one number an example, `[2 N]`
 * @returns a scalar
 * @throws InvalidArgumentError when the halves are not alike, or the weight is below 0
 */
export function withPriorPreservation(losses: tf.Tensor1D, weight: number): tf.Scalar {
  const [count] = losses.shape;
  const problems: string[] = [];
  if (count === 0 || count % 2 !== 0) problems.push(`expected as many losses of each half, got ${count} losses in all`);
  if (!(weight >= 0)) problems.push(`weight must be at least 0, got ${weight}`);
  if (problems.length > 0) throw new InvalidArgumentError('withPriorPreservation', problems);
  return tf.tidy(() => {
    const [learned, prior] = tf.split(losses, 2) as [tf.Tensor1D, tf.Tensor1D];
    return tf.add<tf.Scalar>(tf.mean(learned), tf.mul(tf.mean(prior), weight));
  });
}
