import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { joinHeads, Linear, modulate, PatchEmbed, patchify, splitHeads, unpatchify } from '../src/index.js';

describe.each(await testEngines())('on %s', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  test('patches come row by row, and so do the pixels inside', () => {
    // A pixel is its number: row 10, column 1.
    const x = tf.tensor4d([0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23, 30, 31, 32, 33], [1, 4, 4, 1]);
    const patches = patchify(x, 2);
    expect(patches.arraySync()).toEqual([
      [
        [0, 1, 10, 11],
        [2, 3, 12, 13],
        [20, 21, 30, 31],
        [22, 23, 32, 33],
      ],
    ]);
  });

  test('unpatchify undoes patchify, also where sides differ', () => {
    const x = tf.tensor4d(new TorchGenerator(1).randn(2 * 4 * 6 * 3), [2, 4, 6, 3]);
    const patches = patchify(x, 2);
    expect(patches.shape).toEqual([2, 6, 12]);
    expect(unpatchify(patches, 2, [2, 3]).dataSync()).toEqual(x.dataSync());
  });

  test('PatchEmbed is a convolution whose stride is its kernel', () => {
    const embed = new PatchEmbed(2, 3, 5).init(1);
    const x = tf.tensor4d(new TorchGenerator(1).randn(2 * 4 * 6 * 3), [2, 4, 6, 3]);
    const before = tf.memory().numTensors;
    const tokens = embed.forward(x);
    expect(tf.memory().numTensors).toBe(before + 1);
    const kernel = embed.proj.weight.value as tf.Tensor4D;
    const image = tf.add(tf.conv2d(x, kernel, 2, 'valid'), embed.proj.bias!.value); // [2, 2, 3, 5]
    expect(tokens.shape).toEqual([2, 6, 5]);
    // Sums of 12 products in float32, in another order.
    const difference = tf.max(tf.abs(tf.sub(tokens, tf.reshape(image, [2, 6, 5]))));
    expect(difference.dataSync()[0]).toBeLessThan(1e-5);
    embed.dispose();
  });

  test('heads are neighbouring channels', () => {
    const x = tf.tensor3d([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 4]);
    const heads = splitHeads(x, 2);
    expect(heads.arraySync()).toEqual([
      [
        [
          [1, 2],
          [5, 6],
        ],
        [
          [3, 4],
          [7, 8],
        ],
      ],
    ]);
    expect(joinHeads(heads).dataSync()).toEqual(x.dataSync());
  });

  test('modulate, by hand', () => {
    const y = modulate(tf.tensor3d([[[1, 2], [3, 4]]]), tf.tensor3d([[[10, 20]]]), tf.tensor3d([[[1, -1]]])); // biome-ignore format: a table
    expect(y.arraySync()).toEqual([[[12, 20], [16, 20]]]); // biome-ignore format: a table
  });
});

test('sizes that do not fit are errors', () => {
  expect(() => patchify(tf.ones([1, 4, 5, 3]), 2)).toThrow(/that 2 divides, got \[1,4,5,3\]/);
  expect(() => unpatchify(tf.ones([1, 5, 12]), 2, [2, 3])).toThrow(/expected 2 x 3 patches .*, got \[1,5,12\]/);
  expect(() => unpatchify(tf.ones([1, 6, 10]), 2, [2, 3])).toThrow(/a multiple of 4 numbers/);
  expect(() => splitHeads(tf.ones([1, 2, 5]), 2)).toThrow(/2 heads to divide the channels, got \[1,2,5\]/);
});

test('a bias may start otherwise than its weight', () => {
  const linear = new Linear(2, 3, { biasInit: (shape) => new Float32Array(shape[0]!).fill(7) }).init(0);
  expect(Array.from(linear.bias!.value.dataSync())).toEqual([7, 7, 7]);
  expect(Math.max(...linear.weight.value.dataSync())).toBeLessThan(1);
});
