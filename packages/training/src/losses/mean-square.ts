import type { NoiseLevel, RandomStream } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import {
  type CleanBatch,
  type DenoisingLossOptions,
  diffuse,
  type NetworkFunction,
  perExample,
  times,
  weightedMeanSquare,
} from './denoising-loss.js';

/**
 * E w ||net(x_t, t) - eps||^2 / (H W C), each example at its own level: L_simple of DDPM (Ho et al. 2020), eq. 14.
 * Draws the levels, then the noise. Returns a scalar that the caller disposes.
 */
export function epsLoss<C>(
  net: NetworkFunction<C>,
  batch: CleanBatch<C>,
  rng: RandomStream,
  options: DenoisingLossOptions,
): tf.Scalar {
  return meanSquareLoss(net, batch, rng, options, (noise) => noise);
}

/** E w ||net(x_t, t) - x0||^2 / (H W C). Otherwise as `epsLoss`. */
export function x0Loss<C>(
  net: NetworkFunction<C>,
  batch: CleanBatch<C>,
  rng: RandomStream,
  options: DenoisingLossOptions,
): tf.Scalar {
  return meanSquareLoss(net, batch, rng, options, () => batch.x0);
}

/**
 * E w ||net(x_t, t) - v||^2 / (H W C) with v = alpha eps - sigma x0. Progressive Distillation (Salimans and Ho 2022),
 * appendix D. Otherwise as `epsLoss`.
 */
export function vLoss<C>(
  net: NetworkFunction<C>,
  batch: CleanBatch<C>,
  rng: RandomStream,
  options: DenoisingLossOptions,
): tf.Scalar {
  return meanSquareLoss(net, batch, rng, options, (noise, at) => {
    const alpha = perExample(at.map((level) => level.alpha));
    const sigma = perExample(at.map((level) => level.sigma));
    return tf.sub<tf.Tensor4D>(tf.mul(alpha, noise), tf.mul(sigma, batch.x0));
  });
}

/** The loss of a network that predicts `targetOf` the noise and the levels. */
function meanSquareLoss<C>(
  net: NetworkFunction<C>,
  { x0, cond }: CleanBatch<C>,
  rng: RandomStream,
  { levels, weight }: DenoisingLossOptions,
  targetOf: (noise: tf.Tensor4D, at: readonly NoiseLevel[]) => tf.Tensor4D,
): tf.Scalar {
  return tf.tidy(() => {
    const at = levels(x0.shape[0], rng);
    const { noisy, noise } = diffuse(x0, at, rng);
    const target = targetOf(noise, at);
    const prediction = net(noisy, times(at.map((level) => level.time)), cond);
    return weightedMeanSquare(prediction, target, weight && at.map(weight));
  });
}
