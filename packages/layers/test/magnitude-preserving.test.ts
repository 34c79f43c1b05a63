import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  forceWeightNormalization,
  MPConv,
  MPFourier,
  mpCat,
  mpConv,
  mpSilu,
  mpSum,
  normalizeWeight,
  pixelNorm,
} from '../src/index.js';

const randn = (seed: number, ...shape: number[]) =>
  tf.tensor(new TorchGenerator(seed).randn(shape.reduce((a, b) => a * b)), shape);
const meanSquare = (x: tf.Tensor) => tf.mean(tf.square(x)).dataSync()[0]!;

/** The gradient of sum(w op(x)) in each element of x, by central differences. */
function differences(op: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor, weights: tf.Tensor, step = 1e-2): number[] {
  const values = x.dataSync();
  return Array.from(values, (_, i) => {
    const at = (change: number) => {
      const moved = values.map((v, j) => (i === j ? v + change : v));
      return tf.sum(tf.mul(op(tf.tensor(moved, x.shape)), weights)).dataSync()[0]!;
    };
    return (at(step) - at(-step)) / (2 * step);
  });
}

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  // shared/golden/goldens_misc.json, made with NVlabs/edm2; float32.
  test('the reference’s numbers', () => {
    tf.tidy(() => {
      expect(mpSilu(tf.tensor1d([1])).dataSync()[0]).toBeCloseTo(1.226608395576477, 6);
      expect(mpSum(tf.tensor1d([1]), tf.tensor1d([2]), 0.3).dataSync()[0]).toBeCloseTo(1.7069836271763932, 6);
      const joined = mpCat(tf.ones([1, 3]), tf.ones([1, 5])).dataSync();
      expect(joined[0]).toBeCloseTo(1.1547005383792517, 6);
      expect(joined[3]).toBeCloseTo(0.8944271909999159, 6);
    });
  });

  test('unit variance in, unit variance out', () => {
    tf.tidy(() => {
      const x = randn(1, 64, 40);
      const y = randn(2, 64, 24);
      // Each mean is over 2,500 numbers or more: 4 standard deviations of a mean of squares of normals are 0.11.
      expect(Math.abs(meanSquare(mpSum(x, randn(3, 64, 40), 0.3)) - 1)).toBeLessThan(0.11);
      expect(Math.abs(meanSquare(mpCat(x, y, 0.5)) - 1)).toBeLessThan(0.11);
      expect(Math.abs(meanSquare(mpSilu(x)) - 1)).toBeLessThan(0.15);
      expect(Math.abs(meanSquare(mpConv(x, tf.mul(randn(4, 48, 40), 7))) - 1)).toBeLessThan(0.11);
      const fourier = new MPFourier(64).init(5);
      expect(Math.abs(meanSquare(fourier.forward(randn(6, 64) as tf.Tensor1D)) - 1)).toBeLessThan(0.11);
      // A norm is exact.
      expect(meanSquare(pixelNorm(tf.mul(x, 30)))).toBeCloseTo(1, 4);
      fourier.dispose();
    });
  });

  test('forced normalisation changes the weights, not what the layer computes', () => {
    const layer = new MPConv(6, 5, 3).init(7);
    tf.tidy(() => {
      layer.weight.variable.assign(tf.mul(layer.weight.value, 3));
      const x = randn(8, 2, 4, 4, 6) as tf.Tensor4D;
      const before = layer.forward(x).dataSync();
      const tensors = tf.memory().numTensors;
      forceWeightNormalization(layer);
      expect(tf.memory().numTensors).toBe(tensors);
      // Each output unit has 54 weights of mean square 1; the epsilon of 1e-4 takes 2e-4 of it.
      const squares = tf.mean(tf.square(layer.weight.value), [0, 1, 2]).dataSync();
      for (const square of squares) expect(Math.abs(square - 1)).toBeLessThan(3e-4);
      const after = layer.forward(x).dataSync();
      for (let i = 0; i < before.length; i++) expect(after[i]).toBeCloseTo(before[i]!, 3);
    });
    layer.dispose();
  });

  test.each<[string, number[], (x: tf.Tensor) => tf.Tensor]>([
    ['mpSilu', [2, 5], mpSilu],
    ['pixelNorm', [2, 3, 5], pixelNorm],
    ['normalizeWeight of a matrix', [3, 5], normalizeWeight],
    ['normalizeWeight of a kernel', [3, 3, 2, 2], normalizeWeight],
    ['mpSum', [2, 3], (x) => mpSum(x, tf.square(x), 0.3)],
    ['mpCat', [2, 3], (x) => mpCat(x, tf.concat([x, x], 1), 0.4)],
  ])('the gradient of %s is the slope', (_, shape, op) => {
    tf.tidy(() => {
      const x = randn(9, ...shape);
      const weights = randn(10, ...op(x).shape);
      const gradient = tf
        .grad((x) => tf.sum(tf.mul(op(x), weights)))(x)
        .dataSync();
      // float32 with a step of 1e-2, as for the other ops.
      differences(op, x, weights).forEach((slope, i) => {
        expect(Math.abs(gradient[i]! - slope)).toBeLessThan(2e-3 * (1 + Math.abs(slope)));
      });
    });
  });

  test('a pixel of zeros stays zero and has a finite gradient', () => {
    tf.tidy(() => {
      const gradient = tf.grad((x) => tf.sum(pixelNorm(x)))(tf.zeros([1, 4]));
      expect(Array.from(gradient.dataSync()).every(Number.isFinite)).toBe(true);
      expect(Array.from(pixelNorm(tf.zeros([1, 4])).dataSync())).toEqual([0, 0, 0, 0]);
    });
  });
});

test('weights of another rank are refused', () => {
  expect(() => normalizeWeight(tf.ones([4]))).toThrow(
    /expected a weight \[out, in\] or \[kh, kw, in, out\], got \[4\]/,
  );
});
