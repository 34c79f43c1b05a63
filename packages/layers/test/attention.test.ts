import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { InvalidArgumentError, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { attention } from '../src/index.js';

const random = (shape: [number, number, number, number], seed: number) =>
  tf.tensor4d(new TorchGenerator(seed).randn(tf.util.sizeFromShape(shape)), shape);

const engines = await testEngines();

describe('attention', () => {
  test('a long sequence, done in parts, equals the whole that a gradient needs', async () => {
    await switchTo(engines.includes('tensorflow') ? 'tensorflow' : 'cpu');
    tf.tidy(() => {
      // 4100 x 4100 weights are more than the 2^24 that may exist at once.
      const [q, k, v] = [random([1, 1, 4100, 2], 1), random([1, 1, 4100, 2], 2), random([1, 1, 4100, 2], 3)];
      const mask = tf.reshape(tf.linspace(-1, 1, 4100 * 4100), [1, 1, 4100, 4100]) as tf.Tensor4D;
      const parts = attention(q, k, v, { mask });
      const { value: whole } = tf.valueAndGrad((v) => attention(q, k, v as tf.Tensor4D, { mask }))(v);
      // Each row is the same computation; only the order of a product's sums may differ: 4100 roundings of 6e-8.
      expect(tf.max(tf.abs(tf.sub(parts, whole))).dataSync()[0]).toBeLessThan(1e-5);
    });
  });

  test('names everything that does not fit', async () => {
    await switchTo('cpu');
    const [q, k, v, mask] = [
      tf.ones([1, 2, 3, 4]),
      tf.ones([1, 2, 5, 3]),
      tf.ones([1, 2, 6, 4]),
      tf.ones([1, 2, 3, 4]),
    ];
    const run = () => attention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, { mask: mask as tf.Tensor4D });
    expect(run).toThrow(InvalidArgumentError);
    expect(run).toThrow(
      /expected k \[1, 2, S, 4\].*got \[1,2,5,3\][\s\S]*expected v \[1, 2, 5, e\].*[\s\S]*expected mask/,
    );
    tf.dispose([q, k, v, mask]);
  });
});
