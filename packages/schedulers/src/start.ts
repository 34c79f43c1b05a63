import * as tf from '@tensorflow/tfjs-core';
import type { NoiseSource } from './noise/noise-source.js';
import { levelAt, noiseRatio, type Table } from './tables/table.js';

/**
 * Where sampling starts: noise of the table's first level, `[N, H, W, C]`, from the noise source's first draw.
 *
 * @param scale `sigma` multiplies by sigma; `total` by sqrt(alpha^2 + sigma^2), as diffusers does for Euler and its
 *   kin with leading timesteps
 */
export function initialNoise(
  table: Table,
  shape: readonly [number, number, number, number],
  noise: NoiseSource,
  { scale = 'sigma' }: { readonly scale?: 'sigma' | 'total' } = {},
): tf.Tensor4D {
  const first = levelAt(table, 0);
  const factor = scale === 'sigma' ? first.sigma : Math.hypot(first.alpha, first.sigma);
  const values = noise.draw(shape, Number.POSITIVE_INFINITY, noiseRatio(first));
  return tf.tensor4d(
    values.map((z) => z * factor),
    [...shape],
  );
}

/** Images moved to a table's first level: alpha x0 + sigma z. For image-to-image, on a table that starts lower. */
export function noised(images: tf.Tensor4D, table: Table, noise: NoiseSource): tf.Tensor4D {
  return tf.tidy(() => {
    const first = levelAt(table, 0);
    const z = tf.tensor4d(noise.draw(images.shape, 0, noiseRatio(first)), images.shape);
    return tf.add(tf.mul(images, first.alpha), tf.mul(z, first.sigma));
  });
}
