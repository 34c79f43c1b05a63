import type { OnnxRuntimeBackend } from '@mezzotint/backend-onnxruntime';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { expectLikeCpu, normals } from './against-cpu.js';

beforeAll(async () => {
  await tf.setBackend('onnxruntime');
});

type Image = tf.Tensor4D;

describe('windows that ONNX counts in another way', () => {
  // A number as padding counts both axes with the window's height; rounding up reads beyond the end.
  const cases = [
    { window: [2, 5], stride: 1, pad: 1, rounding: undefined },
    { window: [5, 2], stride: 2, pad: 1, rounding: 'floor' },
    { window: [3, 3], stride: 2, pad: 0, rounding: 'ceil' },
    { window: [3, 2], stride: 3, pad: 1, rounding: 'round' },
  ] as const;
  const image = (): Image => normals([2, 8, 9, 16], 3) as Image;

  test.each(cases)('$window, stride $stride, pad $pad, rounded $rounding', ({ window, stride, pad, rounding }) => {
    const [h, w] = window;
    const filter = (outputs: number, seed: number) => tf.mul(normals([h, w, 16, outputs], seed), 0.2) as Image;
    expectLikeCpu(
      () => [
        tf.conv2d(image(), filter(16, 1), stride, pad, 'NHWC', 1, rounding),
        tf.conv2d(image(), filter(3, 2), stride, pad, 'NHWC', 1, rounding),
        tf.depthwiseConv2d(image(), filter(2, 4), stride, pad, 'NHWC', 1, rounding),
        tf.maxPool(image(), [h, w], stride, pad, rounding),
        tf.avgPool(image(), [h, w], stride, pad, rounding),
      ],
      1e-5,
    );
  });

  // tfjs-core does not pass the rounding on to the gradient, and cpu's is wrong. A convolution is linear, so its
  // gradient along a direction is the convolution of that direction: sums of some thousand products of size one.
  test.each(cases)('gradients: $window, stride $stride, pad $pad, rounded $rounding', ({ window, ...how }) => {
    tf.tidy(() => {
      const [x, direction] = [image(), normals([2, 8, 9, 16], 9) as Image];
      const filter = tf.mul(normals([...window, 16, 4], 1), 0.2) as Image;
      const turn = tf.mul(normals([...window, 16, 4], 2), 0.2) as Image;
      const f = (a: tf.Tensor, w: tf.Tensor) =>
        tf.conv2d(a as Image, w as Image, how.stride, how.pad, 'NHWC', 1, how.rounding);
      const dy = normals(f(x, filter).shape, 11);
      const [dx, dw] = tf.grads(f)([x, filter], dy) as [tf.Tensor, tf.Tensor];
      const along = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(a, b)).dataSync()[0]!;
      expect(along(dx, direction)).toBeCloseTo(along(f(direction, filter), dy), 2);
      expect(along(dw, turn)).toBeCloseTo(along(f(x, turn), dy), 2);
    });
  });

  test('a window larger than its input is an error of its own call', () => {
    expect(() => tf.conv2d(tf.ones<tf.Rank.R4>([1, 2, 2, 1]), tf.ones<tf.Rank.R4>([5, 5, 1, 1]), 1, 'valid')).toThrow(
      /Conv2D: .*\[5,5\].*\[2,2\]/,
    );
  });

  test('in 3-D, "same" never pads by less than nothing', () => {
    // Stride 2 over two elements with windows of one takes the first, as in TensorFlow.
    const x = tf.tensor5d([1, 2], [1, 2, 1, 1, 1]);
    expect([...tf.conv3d(x, tf.ones<tf.Rank.R5>([1, 1, 1, 1, 1]), 2, 'same').dataSync()]).toEqual([1]);
    expect([...tf.maxPool3d(x, 1, 2, 'same').dataSync()]).toEqual([1]);
  });
});

describe('numbers', () => {
  test('nearest neighbours of every size: no rounding below a whole number', () => {
    for (const from of [3, 7, 14, 25]) {
      expectLikeCpu(() => {
        const x = tf.reshape(tf.range(0, from), [1, from, 1, 1]) as Image;
        return [1, 2, 4, 5, 8, 16, 30].flatMap((to) => [
          tf.image.resizeNearestNeighbor(x, [to, 2]),
          tf.image.resizeNearestNeighbor(x, [to, 2], true),
          tf.image.resizeNearestNeighbor(x, [to, 2], false, true),
        ]);
      }, 0);
    }
  });

  test('the logarithm of a small sigmoid', () => {
    expectLikeCpu(() => tf.log(tf.sigmoid(tf.tensor1d([-5, -20, -80, 0, 10, -Infinity, Infinity, Number.NaN]))), 1e-5);
  });

  test('int32 sums and products wrap', () => {
    expectLikeCpu(() => {
      const x = tf.tensor2d([2_000_000_007, 1_000_000_009, 46_341, 46_341], [2, 2], 'int32');
      return [tf.sum(x, 1), tf.prod(tf.slice(x, [1, 0], [1, 2])), tf.sum(tf.fill([3, 100_000], 30_000, 'int32'), 1)];
    }, 0);
  });

  test('a mask of 0 and 255 is true where it is not 0', () => {
    const mask = tf.tensor1d(new Uint8Array([0, 255, 2, 0]), 'bool');
    const other = tf.tensor1d(new Uint8Array([1, 1, 1, 0]), 'bool');
    expect([...tf.logicalAnd(mask, other).dataSync()]).toEqual([0, 1, 1, 0]);
    expect([...tf.equal(mask, other).dataSync()]).toEqual([0, 1, 1, 1]);
    expect([...tf.cast(mask, 'float32').dataSync()]).toEqual([0, 1, 1, 0]);
  });

  test('infinite bounds and slopes are told apart', () => {
    const x = tf.tensor1d([-2, 0.5, 3]);
    expect([...tf.clipByValue(x, -Infinity, 1).dataSync()]).toEqual([-2, 0.5, 1]);
    expect([...tf.clipByValue(x, 0, Infinity).dataSync()]).toEqual([0, 0.5, 3]);
    const steps = [Infinity, -Infinity, Number.NaN].map((alpha) => tf.step(x, alpha).dataSync()[0]);
    expect(steps).toEqual([Infinity, -Infinity, Number.NaN]);
  });

  test('a threshold that changes is no new program', () => {
    const clip = (high: number) => tf.tidy(() => tf.clipByValue(tf.exp(normals([4, 5])), -high, high)).dataSync();
    clip(0.5);
    const { compiled } = (tf.backend() as OnnxRuntimeBackend).statistics();
    for (const high of [0.6, 0.7, 0.8]) clip(high);
    expect((tf.backend() as OnnxRuntimeBackend).statistics().compiled).toBe(compiled);
  });
});

test('complex tensors move here from another backend', () => {
  tf.setBackend('cpu');
  const c = tf.complex([1, 2], [3, 4]);
  tf.setBackend('onnxruntime');
  const twice = tf.add(c, c);
  expect([[...tf.real(twice).dataSync()], [...tf.imag(twice).dataSync()]]).toEqual([
    [2, 4],
    [6, 8],
  ]);
});
