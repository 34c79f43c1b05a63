import type { NoiseLevel, RandomStream, TimeInput } from '@mezzotint/core';
import { augmentationLevel, MOST_AUGMENTATION, mixed } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Where the noise of conditioning augmentation comes in. `gaussian`: the small picture is resized first, then noised (Saharia et al.
 * 2022). `truncated`: it is noised at its own size, as a base model has it that stops before its end, then resized (Ho et al. 2021,
 * section 4.2).
 */
export type AugmentationKind = 'gaussian' | 'truncated';

/** How low-resolution pictures are noised in training. */
export interface ConditioningAugmentation {
  readonly kind: AugmentationKind;
  /** Levels are drawn uniformly from 0, clean, to this, at most 1000. */
  readonly most: number;
  /** What the network's time is, and so what it is told of the level. */
  readonly time: TimeInput;
}

/** Low-resolution pictures as a super-resolution network sees them. The caller disposes both. */
export interface LowResolutionInputs {
  /** `[N, H, W, C]`, as large as x. */
  readonly lowRes: tf.Tensor4D;
  /** What the network is told of their noise, `[N]`. */
  readonly lowResTime: tf.Tensor1D;
}

/**
 * Noise-conditioning augmentation: small pictures `[N, h, w, C]` in [-1, 1] become `[N, height, width, C]` with noise of a level of
 * each picture's own, which the network is told. Draws the levels, then the noise.
 */
export function augmentLowResolution(
  small: tf.Tensor4D,
  { height, width }: { readonly height: number; readonly width: number },
  rng: RandomStream,
  { kind, most, time }: ConditioningAugmentation,
): LowResolutionInputs {
  const n = small.shape[0];
  const levels = Array.from(rng.rand(n), (u) => augmentationLevel(u * Math.min(most, MOST_AUGMENTATION), time));
  return tf.tidy(() => {
    const resized = (x: tf.Tensor4D) => tf.image.resizeBilinear(x, [height, width], false, true);
    const noisy = (x: tf.Tensor4D) => withNoise(x, levels, rng);
    return {
      lowRes: kind === 'gaussian' ? noisy(resized(small)) : resized(noisy(small)),
      lowResTime: tf.tensor1d(levels.map((level) => level.time)),
    };
  });
}

/** alpha x + sigma z, a level for each image. */
function withNoise(x: tf.Tensor4D, levels: readonly NoiseLevel[], rng: RandomStream): tf.Tensor4D {
  const z = tf.tensor4d(rng.randn(x.size), x.shape);
  const images = levels.map((level, i) => mixed(tf.slice(x, i, 1), tf.slice(z, i, 1), level));
  return tf.concat(images, 0);
}
