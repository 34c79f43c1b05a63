import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { switchTo, testEngines } from '../src/testing.js';

type Case = () => tf.Tensor[];

/** Fixed numbers in [-1, 1], no two alike, the same on every engine. */
function numbers(shape: number[], seed: number): tf.Tensor {
  const size = shape.reduce((n, d) => n * d, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, (_, i) => Math.sin(1.7 * i + seed)),
    shape,
  );
}

const convolutions: { input: number[]; filter: number[]; strides: number; pad: 'same' | 'valid' | number }[] = [
  { input: [2, 5, 6, 3], filter: [3, 3, 3, 4], strides: 1, pad: 'same' },
  { input: [2, 5, 6, 3], filter: [3, 3, 3, 4], strides: 1, pad: 'valid' },
  { input: [2, 6, 6, 3], filter: [3, 3, 3, 4], strides: 2, pad: 'same' },
  { input: [2, 7, 6, 3], filter: [3, 3, 3, 4], strides: 2, pad: 'valid' },
  { input: [2, 6, 7, 3], filter: [3, 3, 3, 4], strides: 2, pad: 1 },
  { input: [1, 4, 4, 2], filter: [1, 1, 2, 5], strides: 1, pad: 'same' },
  { input: [1, 5, 5, 2], filter: [1, 1, 2, 5], strides: 2, pad: 'valid' },
  { input: [1, 5, 6, 2], filter: [2, 3, 2, 3], strides: 1, pad: 'same' },
  { input: [1, 9, 9, 1], filter: [4, 4, 1, 2], strides: 3, pad: 'valid' },
];

const products: { a: number[]; b: number[]; transposeA: boolean; transposeB: boolean }[] = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
].flatMap(([transposeA = false, transposeB = false]) =>
  [[], [3], [2, 3]].map((batch) => ({
    a: [...batch, ...(transposeA ? [4, 5] : [5, 4])],
    b: [...batch, ...(transposeB ? [6, 4] : [4, 6])],
    transposeA,
    transposeB,
  })),
);

const cases: Record<string, Case> = {};
for (const { input, filter, strides, pad } of convolutions) {
  const label = `${input} * ${filter}, stride ${strides}, ${pad}`;
  cases[`conv2d gradients, ${label}`] = () =>
    tf.grads((x: tf.Tensor, w: tf.Tensor) => tf.square(tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, strides, pad)))([
      numbers(input, 1),
      numbers(filter, 2),
    ]);
  const depthwise = [filter[0]!, filter[1]!, input[3]!, 2];
  cases[`depthwise gradients, ${label}`] = () =>
    tf.grads((x: tf.Tensor, w: tf.Tensor) =>
      tf.square(tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, strides, pad)),
    )([numbers(input, 1), numbers(depthwise, 2)]);
}
for (const { a, b, transposeA, transposeB } of products) {
  const label = `${a} x ${b}${transposeA ? ', a transposed' : ''}${transposeB ? ', b transposed' : ''}`;
  cases[`matMul, ${label}`] = () => [tf.matMul(numbers(a, 1), numbers(b, 2), transposeA, transposeB)];
  cases[`fused matMul with bias and activation, ${label}`] = () => [
    tf.fused.matMul({
      a: numbers(a, 1),
      b: numbers(b, 2),
      transposeA,
      transposeB,
      bias: numbers([6], 3),
      activation: 'relu',
    }),
  ];
}
Object.assign(cases, {
  'matMul with one matrix for a batch': () => [tf.matMul(numbers([3, 5, 4], 1), numbers([1, 4, 6], 2))],
  'matMul with crossed batches': () => [tf.matMul(numbers([2, 1, 5, 4], 1), numbers([1, 3, 4, 6], 2))],
  'unsortedSegmentSum with an empty and an outside id': () => [
    tf.unsortedSegmentSum(numbers([4, 3], 1) as tf.Tensor2D, tf.tensor1d([2, 0, 2, 0], 'int32'), 4),
  ],
  'gather gradient': () => [
    tf.grad((x) => tf.square(tf.gather(x, tf.tensor1d([1, 1, 0], 'int32'))))(numbers([3, 2], 1)),
  ],
} satisfies Record<string, Case>);
for (const axis of [[0], [1], [2], [3], [0, 1], [1, 2], [2, 3], [0, 2], [0, 1, 2], [0, 1, 2, 3]]) {
  for (const keepDims of [false, true]) {
    cases[`sum and mean over ${axis}${keepDims ? ', dimensions kept' : ''}`] = () => [
      tf.sum(numbers([2, 3, 4, 5], 1), axis, keepDims),
      tf.mean(numbers([2, 3, 4, 5], 1), axis, keepDims),
      tf.sum(tf.cast(tf.mul(numbers([2, 3, 4, 5], 1), 9), 'int32'), axis, keepDims),
    ];
  }
}

const engines = await testEngines();

describe.skipIf(!engines.includes('wasm'))('wasm equals cpu', () => {
  const results = async (engine: 'cpu' | 'wasm', run: Case) => {
    await switchTo(engine);
    return tf.tidy(() => run().map((t) => ({ shape: t.shape, dtype: t.dtype, values: Array.from(t.dataSync()) })));
  };

  test.each(Object.keys(cases))('%s', async (name) => {
    const expected = await results('cpu', cases[name]!);
    const got = await results('wasm', cases[name]!);
    expect(got.map(({ shape, dtype }) => ({ shape, dtype }))).toEqual(
      expected.map(({ shape, dtype }) => ({ shape, dtype })),
    );
    // Sums of at most 200 products below 10 in float32: 200 roundings of 6e-8, and as much again for the square.
    for (const [i, { values }] of got.entries()) {
      for (const [j, value] of values.entries()) {
        const want = expected[i]!.values[j]!;
        expect(Math.abs(value - want)).toBeLessThan(2e-5 * Math.max(1, Math.abs(want)));
      }
    }
  });
});

describe.skipIf(!engines.includes('wasm'))('on wasm', () => {
  beforeAll(() => switchTo('wasm'));

  test.each(Object.keys(cases))('%s leaks nothing', (name) => {
    const before = tf.memory();
    tf.tidy(() => {
      cases[name]!();
    });
    expect(tf.memory().numTensors).toBe(before.numTensors);
    expect(tf.memory().numDataBuffers).toBe(before.numDataBuffers);
  });

  // One after the other, a million roundings of a growing sum made 1 % of error; through sums of sums a number goes through
  // about 130 roundings of 6e-8.
  test.each([[[1000, 1000]], [[2, 500_000]]])('sum and mean of the million numbers of %j are right', (shape) => {
    const [sum, mean] = tf.tidy(() => {
      const x = tf.fill(shape, 0.1);
      return [tf.sum(x), tf.mean(x)].map((y) => y.dataSync()[0]!);
    });
    expect(Math.abs(sum! / (1e6 * Math.fround(0.1)) - 1)).toBeLessThan(8e-6);
    expect(Math.abs(mean! / Math.fround(0.1) - 1)).toBeLessThan(8e-6);
  });
});
