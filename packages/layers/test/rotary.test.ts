import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { relativeError } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { axialRotary, rotate } from '../src/index.js';

const axes = [2, 4];
const draw = (seed: number, ...shape: [number, number, number, number]) =>
  tf.tensor4d(new TorchGenerator(seed).randn(shape.reduce((a, b) => a * b)), shape);

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('pairs are complex numbers that turn by position times frequency, each axis its own share', () => {
    const positions = [
      [3, 1],
      [0, 2],
    ];
    const x = draw(1, 1, 1, 2, 6);
    const values = x.dataSync();
    // Axis 0 has one pair with frequency 1; axis 1 two, with 1 and 100^(-2/4).
    const want = positions.flatMap(([row, column], t) =>
      [row!, column!, column! * 100 ** -0.5].flatMap((angle, pair) => {
        const [a, b] = values.slice(6 * t + 2 * pair, 6 * t + 2 * pair + 2) as unknown as [number, number];
        return [a * Math.cos(angle) - b * Math.sin(angle), a * Math.sin(angle) + b * Math.cos(angle)];
      }),
    );
    const got = rotate(x, axialRotary(tf.tensor2d(positions), { axes, theta: 100 })).dataSync();
    expect(relativeError(got, want)).toBeLessThan(1e-6);
  });

  test('inner products depend on differences of positions only, and gradients turn back', () => {
    const [q, k] = [draw(1, 2, 3, 4, 6), draw(2, 2, 3, 4, 6)];
    const positions = tf.tensor3d(new TorchGenerator(3).randn(16), [2, 4, 2]);
    const scores = (shift: number) => {
      const rotary = axialRotary(tf.add(positions, shift), { axes });
      return tf.matMul(rotate(q, rotary), rotate(k, rotary), false, true).dataSync();
    };
    expect(relativeError(scores(5), scores(0))).toBeLessThan(1e-5);
    const rotary = axialRotary(positions, { axes });
    const dq = tf.grad((q: tf.Tensor) => tf.sum(tf.mul(rotate(q as tf.Tensor4D, rotary), k)))(q);
    const back = rotate(k, axialRotary(tf.neg(positions), { axes }));
    expect(relativeError(dq.dataSync(), back.dataSync())).toBeLessThan(1e-5);
  });

  test('what does not fit is refused', () => {
    expect(() => axialRotary(tf.zeros([4, 3]), { axes })).toThrow(/expected positions \[T, 2\].*got \[4,3\]/);
    expect(() => axialRotary(tf.zeros([4, 2]), { axes: [1, 3] })).toThrow(/even shares/);
  });
});
