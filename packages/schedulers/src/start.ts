import type { NoiseLevel } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { NoiseSource } from './noise/noise-source.js';
import { levelAt, type NoiseSchedule, noiseRatio } from './schedules/schedule.js';

/**
 * Where sampling starts: noise of the schedule's first level, `[N, H, W, C]`, from the noise source's first draw.
 *
 * @param options initNoiseSigma, what the noise is multiplied by: `sampler.initNoiseSigma(schedule)`; the first row's sigma
 *   when absent
 */
export function initialNoise(
  schedule: NoiseSchedule,
  shape: readonly [number, number, number, number],
  noise: NoiseSource,
  { initNoiseSigma = levelAt(schedule, 0).sigma }: { readonly initNoiseSigma?: number } = {},
): tf.Tensor4D {
  return tf.tidy(() =>
    tf.mul<tf.Tensor4D>(standardNoise(shape, noise, levelAt(schedule, 0), Number.POSITIVE_INFINITY), initNoiseSigma),
  );
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
