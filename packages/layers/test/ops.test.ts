import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { InvalidArgumentError, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  activate,
  type activationKinds,
  averagePool2x,
  conv2d,
  dropout,
  embeddingLookup,
  groupNorm,
  linear,
  oneHotOrNone,
} from '../src/index.js';

const engines = await testEngines();

describe.each(engines)('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('labels outside of the table are an error, never rows of zeros or of somebody else', async () => {
    const table = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    for (const wrong of [2, 99, -1]) {
      const lookup = async () => (embeddingLookup(table, tf.tensor1d([0, wrong], 'int32')) as tf.Tensor).data();
      await expect(lookup()).rejects.toThrow(new RegExp(`labels or ids in \\[0, 2\\), got ${wrong}`));
      const oneHot = async () => oneHotOrNone(tf.tensor1d([wrong], 'int32'), wrong === 2 ? 1 : 2).data();
      await expect(oneHot()).rejects.toThrow(/expected labels or ids in/);
    }
    const rows = oneHotOrNone(tf.tensor1d([1, 2, 0], 'int32'), 2);
    expect([...(await rows.data())]).toEqual([0, 1, 0, 0, 1, 0]); // 2 is "no label" of two classes.
  });

  test('dropout keeps what the stream says, scaled; without a stream it keeps all', () => {
    tf.tidy(() => {
      const draws = new TorchGenerator(5).rand(6);
      const want = Array.from(draws, (u) => (u < 0.25 ? 0 : 1 / 0.75));
      const x = tf.ones([2, 3]);
      expect(Array.from(dropout(x, 0.25, new TorchGenerator(5)).dataSync())).toEqual(want.map((y) => Math.fround(y)));
      expect(Array.from(dropout(x, 0.25).dataSync())).toEqual([1, 1, 1, 1, 1, 1]);
    });
  });

  test('dropout without a stream gives a tensor that the caller may dispose', () => {
    const x = tf.ones([2]);
    dropout(x, 0.5).dispose();
    expect(x.isDisposed).toBe(false);
    x.dispose();
  });

  test('nonlinearities by name are what their formulas say', () => {
    const x = [-30, -2, -0.5, 0, 0.5, 2, 30];
    const logistic = (u: number) => 1 / (1 + Math.exp(-u));
    const expected: Partial<Record<(typeof activationKinds)[number], (u: number) => number>> = {
      silu: (u) => u * logistic(u),
      quick: (u) => u * logistic(1.702 * u),
      relu: (u) => Math.max(u, 0),
      mish: (u) => u * Math.tanh(Math.log1p(Math.exp(u))),
    };
    for (const [kind, f] of Object.entries(expected)) {
      const y = tf.tidy(() => activate(tf.tensor1d(x), kind as 'silu').dataSync());
      // float32: relative 1e-6, and near zero absolute.
      const errors = x.map((u, i) => Math.abs(y[i]! - f(u)) / (1 + Math.abs(f(u))));
      expect(Math.max(...errors), kind).toBeLessThan(1e-6);
    }
  });

  test('linear of one row and of none', () => {
    const shapes = [[4], [0, 4]].map((shape) =>
      tf.tidy(() => linear(tf.ones(shape), tf.ones([5, 4]), tf.ones([5])).shape),
    );
    expect(shapes).toEqual([[5], [0, 5]]);
  });
});

describe('refused', () => {
  beforeAll(() => switchTo('cpu'));

  test.each<[string, () => unknown, RegExp]>([
    ['linear', () => linear(tf.ones([2, 3]), tf.ones([5, 4]), null), /expected x \[\.\.\., 4\].*got \[2,3\]/],
    ['conv2d channels', () => conv2d(tf.ones([1, 4, 4, 2]), tf.ones([3, 3, 3, 1]), null), /same C, got \[1,4,4,2\]/],
    [
      'conv2d half a pixel',
      () => conv2d(tf.ones([1, 4, 4, 2]), tf.ones([2, 2, 2, 1]), null, { padding: 0.5 }),
      /got 0\.5/,
    ],
    ['groupNorm', () => groupNorm(tf.ones([1, 4]), null, null, { groups: 3, epsilon: 0 }), /multiple of 3 groups/],
    ['averagePool2x', () => averagePool2x(tf.ones([1, 3, 4, 1])), /even height and width, got \[1,3,4,1\]/],
    ['dropout', () => dropout(tf.ones([1]), 1), /rate in \[0, 1\), got 1/],
    ['embeddingLookup', () => embeddingLookup(tf.ones([2, 2]), tf.tensor1d([0])), /int32 ids, got float32/],
  ])('%s', (_, run, message) => {
    expect(run).toThrow(InvalidArgumentError);
    expect(run).toThrow(message);
  });
});
