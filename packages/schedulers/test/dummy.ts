import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';
import type { Network, NoiseSource, Step } from '../src/index.js';

/** The sample of the golden files: arange(768) / 768 as (3, 8, 8, 4), axes turned to (4, 3, 8, 8). */
export function dummySample(scale = 1): tf.Tensor4D {
  return tf.tidy(() => {
    const values = Float32Array.from({ length: 768 }, (_, i) => i / 768);
    return tf.mul(tf.transpose(tf.tensor4d(values, [3, 8, 8, 4]), [3, 0, 1, 2]), scale);
  });
}

/** The network of the golden files: x t / (t + 1). */
export const dummyNetwork: Network = (x, time) =>
  tf.tidy(() => {
    const t = time.dataSync()[0]!;
    return tf.mul(x, t / (t + 1));
  });

/** The noise of stochastic.json: draw k is sqrt(2) sin(1.3 j + 2.1 k + 0.5). */
export function dummyNoise(): NoiseSource {
  let k = 0;
  return {
    draw(shape) {
      const size = shape.reduce((n, d) => n * d, 1);
      const z = Float32Array.from({ length: size }, (_, j) => Math.SQRT2 * Math.sin(1.3 * j + 2.1 * k + 0.5));
      k++;
      return z;
    },
    save: () => k,
    restore: (state) => {
      k = state as number;
    },
  };
}

/** Compares elements 1, 100, 500 and 767 of where a step arrived; returns how many were there to compare. */
export function compareStep(step: Step, wanted: readonly (number | null)[], relative: number, absolute = 0): number {
  const values = step.x.dataSync();
  let compared = 0;
  [1, 100, 500, 767].forEach((element, k) => {
    const e = wanted[k];
    if (e === null || e === undefined) return;
    compared++;
    const got = values[element]!;
    expect(Math.abs(got - e), `step ${step.index}, element ${element}: ${got} for ${e}`).toBeLessThanOrEqual(
      relative * Math.abs(e) + absolute,
    );
  });
  return compared;
}
