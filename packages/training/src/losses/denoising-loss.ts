import type { NoiseLevel, RandomStream } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { NoiseDistribution, TimedNoiseLevel } from '../noise-levels/noise-distribution.js';

/** A network as training sees it: x `[N, H, W, C]`, time `[N]` (one level an example), and a condition, to `[N, H, W, C']`. */
export type NetworkFunction<C = void> = (x: tf.Tensor4D, time: tf.Tensor1D, cond: C) => tf.Tensor4D;

/** Clean images `[N, H, W, C]` in [-1, 1] and what they are conditioned on. */
export interface CleanBatch<C = void> {
  readonly x0: tf.Tensor4D;
  readonly cond: C;
}

/** Which noise levels a loss draws, and how much an example at a level counts (1 when absent). */
export interface DenoisingLossOptions<L extends NoiseLevel = TimedNoiseLevel> {
  readonly levels: NoiseDistribution<L>;
  readonly weight?: (level: L) => number;
}

/** x_t = alpha x0 + sigma eps with what made it; tensors that a tidy around the loss frees. */
interface Diffused {
  readonly noisy: tf.Tensor4D;
  readonly noise: tf.Tensor4D;
}

/** Noises each example to its own level; the noise is the next N H W C normals of the stream. */
export function diffuse(x0: tf.Tensor4D, levels: readonly NoiseLevel[], rng: RandomStream): Diffused {
  const noise = tf.tensor4d(rng.randn(x0.size), x0.shape);
  const alpha = perExample(levels.map((level) => level.alpha));
  const sigma = perExample(levels.map((level) => level.sigma));
  return { noisy: tf.add(tf.mul(alpha, x0), tf.mul(sigma, noise)), noise };
}

/** One number an example, to broadcast over images: `[N, 1, 1, 1]`. */
export function perExample(values: ArrayLike<number>): tf.Tensor4D {
  return tf.tensor4d(Float32Array.from(values), [values.length, 1, 1, 1]);
}

/** The times that the network is told: `[N]`. */
export function times(values: ArrayLike<number>): tf.Tensor1D {
  return tf.tensor1d(Float32Array.from(values), 'float32');
}

/** mean over the batch of w_n mean((prediction - target)^2); without weights the plain mean square. */
export function weightedMeanSquare(
  prediction: tf.Tensor4D,
  target: tf.Tensor4D,
  weights: readonly number[] | undefined,
): tf.Scalar {
  const square = tf.squaredDifference(prediction, target);
  return tf.mean(weights === undefined ? square : tf.mul(square, perExample(weights)));
}
