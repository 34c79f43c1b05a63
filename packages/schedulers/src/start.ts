import type { NoiseLevel } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { NoiseSource } from './noise/noise-source.js';
import { levelAt, type NoiseSchedule, noiseRatio } from './schedules/schedule.js';

/**
 * Where sampling starts: noise of the table's first level, `[N, H, W, C]`, from the noise source's first draw.
 *
 * @param scale `sigma` multiplies by sigma; `total` by sqrt(alpha^2 + sigma^2), as diffusers does for Euler and its
 *   kin with leading timesteps
 */
export function initialNoise(
  table: NoiseSchedule,
  shape: readonly [number, number, number, number],
  noise: NoiseSource,
  { scale = 'sigma' }: { readonly scale?: 'sigma' | 'total' } = {},
): tf.Tensor4D {
  return tf.tidy(() =>
    tf.mul<tf.Tensor4D>(
      standardNoise(shape, noise, levelAt(table, 0), Number.POSITIVE_INFINITY),
      initNoiseSigma(table, scale),
    ),
  );
}

/** What `initialNoise` multiplies noise by. */
export function initNoiseSigma(table: NoiseSchedule, scale: 'sigma' | 'total'): number {
  const { alpha, sigma } = levelAt(table, 0);
  return scale === 'sigma' ? sigma : Math.hypot(alpha, sigma);
}

/**
 * Standard normals `[N, H, W, C]` for x at a level.
 *
 * @param from the noise ratio that the way to the level begins at; 0, a clean picture
 */
export function standardNoise(
  shape: readonly [number, number, number, number],
  noise: NoiseSource,
  level: NoiseLevel,
  from = 0,
): tf.Tensor4D {
  return tf.tensor4d(noise.draw(shape, from, noiseRatio(level)), [...shape]);
}

/** Images moved to a noise level: alpha x0 + sigma z. For image to image, at the `startLevel` of its first step. */
export function noised(images: tf.Tensor4D, level: NoiseLevel, noise: NoiseSource): tf.Tensor4D {
  return tf.tidy(() => mixed(images, standardNoise(images.shape, noise, level), level));
}

/** alpha x0 + sigma z, `[N, H, W, C]`. */
export function mixed(images: tf.Tensor4D, noise: tf.Tensor4D, { alpha, sigma }: NoiseLevel): tf.Tensor4D {
  return tf.tidy(() => tf.add(tf.mul(images, alpha), tf.mul(noise, sigma)));
}
