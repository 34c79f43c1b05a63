import type { NoiseLevel, RandomStream } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { NoiseDistribution, TimedNoiseLevel } from '../noise-levels/levels.js';
import { type Distance, meanSquare } from './distances.js';

/** A network as training sees it: x `[N, H, W, C]`, time `[N]` (one level an example), and a condition, to `[N, H, W, C']`. */
export type NetworkFunction<C = void> = (x: tf.Tensor4D, time: tf.Tensor1D, cond: C) => tf.Tensor4D;

/** Clean images `[N, H, W, C]` in [-1, 1] (or latents) and what they are conditioned on. */
export interface CleanBatch<C = void> {
  readonly x0: tf.Tensor4D;
  readonly cond: C;
}

/** What a network may predict of x_t = alpha x0 + sigma eps. */
export type Prediction = 'eps' | 'x0' | 'v' | 'flow';

/** Which noise levels a loss draws, and how its errors count. */
export interface DenoisingLossOptions<L extends NoiseLevel = TimedNoiseLevel> {
  readonly levels: NoiseDistribution<L>;
  /** How much an example at a level counts; 1 when absent. */
  readonly weight?: (level: L) => number;
  /** Of the prediction from its target; the mean square when absent. */
  readonly distance?: Distance;
  /** What the error is measured in: that of a v-predicting network may be counted as one of eps. As predicted when absent. */
  readonly errorOf?: Exclude<Prediction, 'flow'>;
}

/**
 * w ||net(x_t, t) - eps||^2 / (H W C) of each example at its own level, `[N]`: L_simple of DDPM (Ho et al. 2020), eq. 14.
 * Draws the levels, then the noise. Returns a tensor that the caller disposes.
 */
export function epsLoss<C, L extends TimedNoiseLevel>(
  net: NetworkFunction<C>,
  batch: CleanBatch<C>,
  rng: RandomStream,
  options: DenoisingLossOptions<L>,
): tf.Tensor1D {
  return denoisingLoss('eps', net, batch, rng, options);
}

/** w ||net(x_t, t) - x0||^2 / (H W C). Otherwise as `epsLoss`. */
export function x0Loss<C, L extends TimedNoiseLevel>(
  net: NetworkFunction<C>,
  batch: CleanBatch<C>,
  rng: RandomStream,
  options: DenoisingLossOptions<L>,
): tf.Tensor1D {
  return denoisingLoss('x0', net, batch, rng, options);
}

/**
 * w ||net(x_t, t) - v||^2 / (H W C) with v = alpha eps - sigma x0. Progressive Distillation (Salimans and Ho 2022),
 * appendix D. Otherwise as `epsLoss`.
 */
export function vLoss<C, L extends TimedNoiseLevel>(
  net: NetworkFunction<C>,
  batch: CleanBatch<C>,
  rng: RandomStream,
  options: DenoisingLossOptions<L>,
): tf.Tensor1D {
  return denoisingLoss('v', net, batch, rng, options);
}

/**
 * w ||net(x_t, t) - (eps - x0)||^2 / (H W C): the velocity of the straight path x_t = (1 - t) x0 + t eps. Flow matching
 * (Lipman et al. 2023), eq. 23; rectified flow (Liu et al. 2022), eq. 1. Otherwise as `epsLoss`.
 */
export function flowLoss<C, L extends TimedNoiseLevel>(
  net: NetworkFunction<C>,
  batch: CleanBatch<C>,
  rng: RandomStream,
  options: DenoisingLossOptions<L>,
): tf.Tensor1D {
  return denoisingLoss('flow', net, batch, rng, options);
}

/** The loss of a network that predicts `prediction`; the four above by name. */
export function denoisingLoss<C, L extends TimedNoiseLevel>(
  prediction: Prediction,
  net: NetworkFunction<C>,
  { x0, cond }: CleanBatch<C>,
  rng: RandomStream,
  { levels, weight, distance = meanSquare, errorOf }: DenoisingLossOptions<L>,
): tf.Tensor1D {
  return tf.tidy(() => {
    const at = levels(x0.shape[0], rng);
    const { noisy, noise } = diffuse(x0, at, rng);
    const target = targetOf(prediction, x0, noise, at);
    const error = tf.sub<tf.Tensor4D>(net(noisy, times(at.map((level) => level.time)), cond), target);
    const scaled =
      errorOf === undefined
        ? error
        : tf.mul<tf.Tensor4D>(
            error,
            perExample(at.map((level) => x0Error(prediction, level) / x0Error(errorOf, level))),
          );
    const losses = distance(scaled); // [N]
    return weight === undefined ? losses : tf.mul<tf.Tensor1D>(losses, times(at.map(weight)));
  });
}

/** What a network must answer, `[N, H, W, C]`. */
function targetOf(prediction: Prediction, x0: tf.Tensor4D, noise: tf.Tensor4D, at: readonly NoiseLevel[]): tf.Tensor4D {
  switch (prediction) {
    case 'eps':
      return noise;
    case 'x0':
      return x0;
    case 'v': {
      const alpha = perExample(at.map((level) => level.alpha));
      const sigma = perExample(at.map((level) => level.sigma));
      return tf.sub(tf.mul(alpha, noise), tf.mul(sigma, x0));
    }
    case 'flow':
      return tf.sub(noise, x0);
  }
}

/**
 * |error of x0| that an error of 1 in a prediction stands for, x_t given: x0 = (x_t - sigma eps) / alpha,
 * x0 = (alpha x_t - sigma v) / (alpha^2 + sigma^2), x0 = (x_t - sigma u) / (alpha + sigma).
 */
function x0Error(prediction: Prediction, { alpha, sigma }: NoiseLevel): number {
  switch (prediction) {
    case 'eps':
      return sigma / alpha;
    case 'x0':
      return 1;
    case 'v':
      return sigma / (alpha ** 2 + sigma ** 2);
    case 'flow':
      return sigma / (alpha + sigma);
  }
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

/** One number an example, such as the times that the network is told: `[N]`. */
export function times(values: ArrayLike<number>): tf.Tensor1D {
  return tf.tensor1d(Float32Array.from(values), 'float32');
}
