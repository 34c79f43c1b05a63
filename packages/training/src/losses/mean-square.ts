import type { RandomStream } from '@mezzotint/core';
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
  { x0, cond }: CleanBatch<C>,
  rng: RandomStream,
  { levels, weight }: DenoisingLossOptions,
): tf.Scalar {
  return tf.tidy(() => {
    const at = levels(x0.shape[0], rng);
    const { noisy, noise } = diffuse(x0, at, rng);
    const prediction = net(noisy, times(at.map((level) => level.time)), cond);
    return weightedMeanSquare(prediction, noise, weight && at.map(weight));
  });
}

/** E w ||net(x_t, t) - x0||^2 / (H W C). Otherwise as `epsLoss`. */
export function x0Loss<C>(
  net: NetworkFunction<C>,
  { x0, cond }: CleanBatch<C>,
  rng: RandomStream,
  { levels, weight }: DenoisingLossOptions,
): tf.Scalar {
  return tf.tidy(() => {
    const at = levels(x0.shape[0], rng);
    const { noisy } = diffuse(x0, at, rng);
    const prediction = net(noisy, times(at.map((level) => level.time)), cond);
    return weightedMeanSquare(prediction, x0, weight && at.map(weight));
  });
}

/**
 * E w ||net(x_t, t) - v||^2 / (H W C) with v = alpha eps - sigma x0. Progressive Distillation (Salimans and Ho 2022),
 * appendix D. Otherwise as `epsLoss`.
 */
export function vLoss<C>(
  net: NetworkFunction<C>,
  { x0, cond }: CleanBatch<C>,
  rng: RandomStream,
  { levels, weight }: DenoisingLossOptions,
): tf.Scalar {
  return tf.tidy(() => {
    const at = levels(x0.shape[0], rng);
    const { noisy, noise } = diffuse(x0, at, rng);
    const alpha = perExample(at.map((level) => level.alpha));
    const sigma = perExample(at.map((level) => level.sigma));
    const v = tf.sub<tf.Tensor4D>(tf.mul(alpha, noise), tf.mul(sigma, x0));
    const prediction = net(noisy, times(at.map((level) => level.time)), cond);
    return weightedMeanSquare(prediction, v, weight && at.map(weight));
  });
}
