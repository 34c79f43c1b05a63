import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** The size of an error `[N, H, W, C]`, one number an example `[N]`; a new tensor. */
export type Distance = (error: tf.Tensor4D) => tf.Tensor1D;

/** mean(e^2) of each example. */
export const meanSquare: Distance = (error) => tf.tidy(() => tf.mean<tf.Tensor1D>(tf.square(error), [1, 2, 3]));

/**
 * mean(sqrt(e^2 + c^2) - c) of each example. Improved consistency training (Song and Dhariwal 2023), section 3.3, averaged
 * over elements; outliers count less than in the mean square.
 */
export function pseudoHuber(c: number): Distance {
  if (!(c > 0)) throw new InvalidArgumentError('pseudoHuber', `c must be above 0, got ${c}`);
  return (error) => tf.tidy(() => tf.mean(tf.sub(tf.sqrt(tf.add(tf.square(error), c * c)), c), [1, 2, 3]));
}

/**
 * Sum over sides s of mean(D_s[e]^2) / s, where D_s averages the image down to s x s (along its shorter side). Simple
 * diffusion (Hoogeboom et al. 2023), section 3.3: sides 32, 64, ... up to the image, measured in eps (`errorOf: 'eps'`).
 *
 * @throws InvalidArgumentError when called with an image that a side does not divide
 */
export function multiScale(sides: readonly number[]): Distance {
  if (sides.length === 0 || sides.some((side) => !Number.isSafeInteger(side) || side < 1)) {
    throw new InvalidArgumentError('multiScale', `expected sides of at least 1 pixel, got [${sides.join(', ')}]`);
  }
  return (error) =>
    tf.tidy(() => {
      const [, height, width] = error.shape;
      const shorter = Math.min(height, width);
      const parts = sides.map((side) => {
        const window = shorter / side;
        if (!Number.isInteger(window) || height % window !== 0 || width % window !== 0) {
          throw new InvalidArgumentError('multiScale', `a side of ${side} does not divide ${height} x ${width}`);
        }
        const small = window === 1 ? error : tf.avgPool(error, window, window, 'valid');
        return tf.div<tf.Tensor1D>(meanSquare(small), side);
      });
      return tf.addN(parts);
    });
}
