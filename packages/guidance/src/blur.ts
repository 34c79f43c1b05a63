import { InvalidArgumentError } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';
import { type AxisMatrix, axisMatrix, separable } from './axis-matrix.js';

/**
 * Gaussian blur with reflected edges: `[N, H, W, C] -> [N, H, W, C]`.
 *
 * @param deviation of the Gaussian, in pixels; Infinity is the mean of each picture's channel, 0 the picture itself
 * @param size taps of the kernel, odd; when left out, six deviations
 * @throws InvalidArgumentError when the deviation is negative or no number
 */
export function gaussianBlur(
  x: tf.Tensor4D,
  deviation: number,
  size = deviation === Number.POSITIVE_INFINITY ? 1 : oddAbove(6 * deviation),
): tf.Tensor4D {
  const [, h, w] = x.shape;
  if (!(deviation >= 0))
    throw new InvalidArgumentError('gaussianBlur', `deviation must be at least 0, got ${deviation}`);
  return separable(x, blurMatrix(h, deviation, size), blurMatrix(w, deviation, size));
}

function blurMatrix(length: number, deviation: number, size: number): AxisMatrix {
  if (deviation === Number.POSITIVE_INFINITY) {
    return axisMatrix(length, length, (_, add) => {
      for (let j = 0; j < length; j++) add(j, 1 / length);
    });
  }
  if (deviation === 0) return axisMatrix(length, length, (i, add) => add(i, 1));
  const half = (size - 1) / 2;
  const taps = Array.from({ length: size }, (_, k) => Math.exp(-0.5 * ((k - half) / deviation) ** 2));
  const sum = taps.reduce((a, b) => a + b);
  return axisMatrix(length, length, (i, add) => {
    taps.forEach((tap, k) => {
      add(i + k - half, tap / sum);
    });
  });
}

/** ceil(n) made odd, never upwards by more than 1: the kernel of SEG's own code. */
function oddAbove(n: number): number {
  const whole = Math.ceil(n);
  return whole + 1 - (whole % 2);
}
