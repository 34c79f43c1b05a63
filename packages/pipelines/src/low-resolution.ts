import { InvalidArgumentError, type NoiseLevel, type TimeInput } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data/pixels';
import { augmentationLevel, MOST_AUGMENTATION, noised } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import type { Settings } from './request.js';
import type { Batch, EncodeContext } from './stage.js';
import { pictureAt, repeated, sizeInUnits } from './start.js';

/** How a network that enlarges pictures sees the small ones. */
export interface LowResolution {
  /** Pixels of the result for one of the small picture, along a side. */
  readonly factor: number;
  /** Noise of the small picture: after it was resized, or before. */
  readonly augmentation: 'gaussian' | 'truncated';
  /** What the network's time is, and so what it is told of the noise. */
  readonly time: TimeInput;
  /** Channels of the pictures. */
  readonly channels: 1 | 3;
  /** What the sides of the small picture are multiples of. */
  readonly unit: number;
}

/**
 * The small picture as the network sees it, `[N, H, W, C]`, and what it is told of its noise, `[N]`: the pictures of the stage before,
 * or `image` of the request. Noise-conditioning augmentation: Ho et al. 2021 (arXiv 2106.15282), section 4. Noise: one draw where
 * the level is not 0 and the stage before has not left its own.
 */
export function lowResolutionInputs(
  { images, settings }: Batch,
  { previous, previousLevel, noise }: EncodeContext,
  { factor, augmentation, time, channels, unit }: LowResolution,
): { lowRes: tf.Tensor4D; lowResTime: tf.Tensor1D } {
  const level = augmentationLevel(settings.noiseLevel ?? 0, time);
  return tf.tidy(() => {
    const small = previous ?? ofRequest(settings.image, images.length, channels, unit);
    const [, height, width] = small.shape;
    const resized = (x: tf.Tensor4D) => tf.image.resizeBilinear(x, [factor * height, factor * width], false, true);
    const told = (value: number) => tf.fill([images.length], value) as tf.Tensor1D;
    if (previousLevel !== null) {
      // The stage before stopped early: its noise is the augmentation (truncated conditioning).
      const { alpha, sigma } = previousLevel;
      const own = tf.div<tf.Tensor4D>(small, Math.hypot(alpha, sigma));
      return { lowRes: resized(own), lowResTime: told(augmentationLevel(noiseLevelOf(previousLevel), time).time) };
    }
    const withNoise = (x: tf.Tensor4D) => (level.sigma === 0 ? x : noised(x, level, noise));
    const lowRes = augmentation === 'gaussian' ? withNoise(resized(small)) : resized(withNoise(small));
    return { lowRes, lowResTime: told(level.time) };
  });
}

/** The augmentation's level n of 0 to 1000 with the noise ratio of a level: tan(pi n / 2000) = sigma / alpha. */
export function noiseLevelOf({ alpha, sigma }: NoiseLevel): number {
  return (MOST_AUGMENTATION * 2 * Math.atan2(sigma, alpha)) / Math.PI;
}

/** The request's `image` in whole units, `[count, h, w, channels]` in [-1, 1]. */
export function ofRequest(picture: Settings['image'], count: number, channels: 1 | 3, unit: number): tf.Tensor4D {
  const image = picture as Bitmap | undefined;
  if (image === undefined) throw new InvalidArgumentError('image', 'this model enlarges a picture: give it one');
  return repeated(pictureAt(image, sizeInUnits(image, unit), { filter: 'bicubic', channels }), count);
}
