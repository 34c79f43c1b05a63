import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs';
import type { Denoiser, NoiseLevel } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';

export const at: NoiseLevel = { alpha: 0.8, sigma: 0.6, time: 10 };

/** Numbers of the golden file, `[2, 8, 8, 4]`: it has them as (2, 4, 8, 8). */
export function wave(f: (i: number) => number): tf.Tensor4D {
  return tf.tidy(() => {
    const values = Float32Array.from({ length: 512 }, (_, i) => f(i));
    return tf.transpose(tf.tensor4d(values, [2, 4, 8, 8]), [0, 2, 3, 1]);
  });
}

export const conditional = () => wave((i) => Math.sin(0.1 * i + 0.3));
export const unconditional = () => wave((i) => Math.cos(0.07 * i - 0.2));

/** Values in the order of PyTorch's NCHW. */
export function nchw(x: tf.Tensor4D): number[] {
  return tf.tidy(() => Array.from(tf.transpose(x, [0, 3, 1, 2]).dataSync()));
}

/** A denoiser that says the golden arrays: the conditional one for condition 'c', the other for 'u'. */
export const said: Denoiser<string> = (_, __, cond) => (cond === 'c' ? conditional() : unconditional());

/** Equal to `digits` places after the point, everywhere. */
export function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(found.length).toBe(expected.length);
  for (let i = 0; i < found.length; i++) {
    const limit = tolerance * Math.max(1, Math.abs(expected[i]!));
    expect(Math.abs(found[i]! - expected[i]!), `element ${i}: ${found[i]} for ${expected[i]}`).toBeLessThanOrEqual(
      limit,
    );
  }
}
