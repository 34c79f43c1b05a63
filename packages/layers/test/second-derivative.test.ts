import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { attention, averagePool2x, gelu, groupNorm, layerNorm, rmsNorm, silu, upsample2x } from '../src/index.js';

const t4 = (x: tf.Tensor) => x as tf.Tensor4D;
const side = (shape: number[], seed: number) =>
  tf.tensor(new TorchGenerator(seed).randn(tf.util.sizeFromShape(shape)), shape);

const OPS: Record<string, { shape: number[]; op: (x: tf.Tensor) => tf.Tensor }> = {
  silu: { shape: [2, 4], op: silu },
  'gelu tanh': { shape: [2, 4], op: (x) => gelu(x, 'tanh') },
  'gelu erf': { shape: [2, 4], op: (x) => gelu(x, 'erf') },
  'gelu quick': { shape: [2, 4], op: (x) => gelu(x, 'quick') },
  groupNorm: { shape: [2, 3, 4], op: (x) => groupNorm(x, side([4], 1), side([4], 2), { groups: 2, epsilon: 1e-5 }) },
  layerNorm: { shape: [2, 5], op: (x) => layerNorm(x, side([5], 1), side([5], 2), { epsilon: 1e-5 }) },
  rmsNorm: { shape: [2, 5], op: (x) => rmsNorm(x, side([5], 1), { epsilon: 1e-5 }) },
  'attention to itself': { shape: [1, 2, 3, 4], op: (x) => attention(t4(x), t4(x), t4(x)) },
  upsample2x: { shape: [2, 2, 2, 2], op: (x) => upsample2x(t4(x)) },
  averagePool2x: { shape: [2, 4, 4, 2], op: (x) => averagePool2x(t4(x)) },
};

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test.each(Object.keys(OPS))('second derivative of %s equals central differences of the first', (name) => {
    const { shape, op } = OPS[name]!;
    tf.tidy(() => {
      const x = side(shape, 7);
      const outside = side(op(x).shape, 8);
      const direction = side(shape, 9);
      const first = (at: tf.Tensor) => tf.grad((x) => tf.sum(tf.mul(tf.square(op(x)), outside)))(at);
      const second = tf.grad((x) => tf.sum(tf.mul(first(x), direction)))(x);
      // The product of the Hessian with a direction, by a step of 1e-2 along it: rounding 1e-4, truncation about as much.
      const step = 1e-2;
      const moved = (by: number) => first(tf.add(x, tf.mul(direction, by)));
      const numeric = tf.div(tf.sub(moved(step), moved(-step)), 2 * step).dataSync();
      const exact = second.dataSync();
      const size = Math.max(...numeric.map(Math.abs));
      for (const [i, value] of exact.entries()) expect(Math.abs(value - numeric[i]!)).toBeLessThan(5e-3 * size);
    });
  });
});
