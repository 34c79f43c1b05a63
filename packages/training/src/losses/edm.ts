import type { NoiseLevel, RandomStream } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { NoiseDistribution } from '../noise-levels/levels.js';
import { type CleanBatch, diffuse, type NetworkFunction, perExample, times } from './denoising.js';
import { meanSquare } from './distances.js';

/** Noise levels (alpha = 1) and the standard deviation of the data. */
export interface EdmLossOptions {
  readonly levels: NoiseDistribution<NoiseLevel>;
  /** 0.5 when absent. */
  readonly sigmaData?: number;
  /**
   * u(c_noise), `[N] -> [N]`, the logarithm of the variance that the network expects of its loss at a noise level. With it the loss is
   * L / e^u + u, so that all levels contribute alike: EDM2 (Karras et al. 2024), eq. 21. It is trained with the network.
   */
  readonly logVariance?: (noise: tf.Tensor1D) => tf.Tensor1D;
}

/**
 * lambda(sigma) ||D(x0 + sigma n; sigma) - x0||^2 / (H W C) of each example, `[N]`, with D = c_skip x + c_out F(c_in x, c_noise) and
 * lambda = 1 / c_out^2. EDM (Karras et al. 2022), eq. 2 and 8, table 1. The network is told c_noise = ln(sigma) / 4.
 * Draws the levels, then the noise. Returns a tensor that the caller disposes.
 */
export function edmLoss<C>(
  net: NetworkFunction<C>,
  { x0, cond }: CleanBatch<C>,
  rng: RandomStream,
  { levels, sigmaData = 0.5, logVariance }: EdmLossOptions,
): tf.Tensor1D {
  return tf.tidy(() => {
    const sigmas = levels(x0.shape[0], rng).map((level) => level.sigma);
    const { noisy, noise } = diffuse(
      x0,
      sigmas.map((sigma) => ({ alpha: 1, sigma })),
      rng,
    );
    const total = sigmas.map((sigma) => Math.hypot(sigma, sigmaData));
    const cIn = perExample(total.map((s) => 1 / s));
    // lambda c_out^2 = 1, so the loss is the plain mean square of F against (x0 - c_skip x) / c_out (eq. 8), which is
    // (sigma / sigmaData x0 - sigmaData n) / sqrt(sigma^2 + sigmaData^2): no large number is multiplied by a small one.
    const ofData = perExample(sigmas.map((sigma, i) => sigma / (sigmaData * total[i]!)));
    const ofNoise = perExample(total.map((s) => sigmaData / s));
    const target = tf.sub<tf.Tensor4D>(tf.mul(ofData, x0), tf.mul(ofNoise, noise));
    const cNoise = times(sigmas.map((sigma) => Math.log(sigma) / 4));
    const losses = meanSquare(tf.sub(net(tf.mul(cIn, noisy), cNoise, cond), target)); // [N]
    if (logVariance === undefined) return losses;
    const u = logVariance(cNoise);
    return tf.add<tf.Tensor1D>(tf.div(losses, tf.exp(u)), u);
  });
}
