import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { relativeError } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeEach, describe, expect, test } from 'vitest';
import { inverseWaveletTransform, waveletTransform } from '../src/index.js';

const image = (seed: number, ...shape: [number, number, number, number]) =>
  tf.tensor4d(new TorchGenerator(seed).randn(shape.reduce((a, b) => a * b)), shape);

/** A filter of JPEG 2000's 5/3 transform at every second place of a mirrored row: ISO 15444-1, annex F, table F.2. */
function filtered(row: readonly number[], taps: readonly number[], first: number): number[] {
  const n = row.length;
  const mirrored = (i: number) => row[i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i]!;
  return Array.from({ length: n / 2 }, (_, k) =>
    taps.reduce((sum, tap, j) => sum + tap * mirrored(2 * k + first + j - (taps.length - 1) / 2), 0),
  );
}
const LOW = [-1 / 8, 1 / 4, 3 / 4, 1 / 4, -1 / 8];
const HIGH = [-1 / 2, 1, -1 / 2];

describe.each(await testEngines())('on %s', (engine) => {
  beforeEach(() => switchTo(engine));

  test('the bands are those of the filters of JPEG 2000', () => {
    const x = image(1, 1, 6, 8, 1);
    const rows = x.arraySync()[0]!.map((row) => row.map(([value]) => value!));
    const columns = (table: number[][]) => table[0]!.map((_, i) => table.map((row) => row[i]!));
    const band = (ofColumns: number[], ofRows: number[], at: readonly [number, number]) =>
      columns(
        columns(rows.map((row) => filtered(row, ofColumns, at[0]))).map((column) => filtered(column, ofRows, at[1])),
      );
    const expected = [
      band(LOW, LOW, [0, 0]),
      band(HIGH, LOW, [1, 0]),
      band(LOW, HIGH, [0, 1]),
      band(HIGH, HIGH, [1, 1]),
    ];
    const got = waveletTransform(x).arraySync()[0]!;
    for (const [c, table] of expected.entries()) {
      const ours = got.flatMap((row) => row.map((pixel) => pixel[c]!));
      // A few sums of float32.
      expect(relativeError(ours, table.flat())).toBeLessThan(1e-6);
    }
  });

  test.each([1, 2, 3])('%i levels come back, and a plane is in the low band alone', (levels) => {
    const x = image(2, 2, 16, 24, 3);
    const bands = waveletTransform(x, levels);
    const f = 2 ** levels;
    expect(bands.shape).toEqual([2, 16 / f, 24 / f, 3 * f * f]);
    expect(relativeError(inverseWaveletTransform(bands, levels).dataSync(), x.dataSync())).toBeLessThan(1e-6);
    const flat = waveletTransform(tf.ones([1, 16, 16, 3]), levels);
    const [low, high] = tf.split(flat, [3, 3 * f * f - 3], 3) as [tf.Tensor, tf.Tensor];
    expect([tf.min(low).dataSync()[0], tf.max(low).dataSync()[0]]).toEqual([1, 1]);
    expect(tf.max(tf.abs(high)).dataSync()[0]).toBe(0);
  });

  test('the gradient is the transpose: <W x, y> = <x, W* y>', () => {
    const [x, y] = [image(3, 1, 8, 8, 2), image(4, 1, 2, 2, 32)];
    const dot = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(a, b)) as tf.Scalar;
    const gradient = tf.grad((x: tf.Tensor) => dot(waveletTransform(x as tf.Tensor4D, 2), y))(x);
    // W is linear, so that the gradient at any x gives the product itself.
    const [left, right] = [dot(waveletTransform(x, 2), y).dataSync()[0]!, dot(gradient, x).dataSync()[0]!];
    expect(Math.abs(left - right) / Math.abs(left)).toBeLessThan(1e-4);
  });
});

test('sides that do not divide, and bands that are none, are refused', () => {
  expect(() => waveletTransform(tf.zeros([1, 6, 8, 1]), 2)).toThrow(/expected sides that 4 divides, got 6 x 8/);
  expect(() => inverseWaveletTransform(tf.zeros([1, 2, 2, 8]), 2)).toThrow(/expected channels in 4\^2 bands/);
});
