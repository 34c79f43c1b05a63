import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type HostTensor, type StateDict, TorchGenerator } from '@mezzotint/core';
import { relativeError } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { Lpips, lpipsWeights } from '../src/index.js';

const number = (t: tf.Tensor) => t.dataSync()[0]!;
const noise = (shape: [number, number, number, number], seed = 0) =>
  tf.tensor4d(new TorchGenerator(seed).randn(shape.reduce((n, d) => n * d, 1)), shape);

test('LPIPS has the names of the lpips package, and takes the two files that people have', async () => {
  const lpips = new Lpips();
  const names = [...lpips.params().keys()];
  expect(names.slice(0, 4)).toEqual([
    'net.slice1.0.weight',
    'net.slice1.0.bias',
    'net.slice1.2.weight',
    'net.slice1.2.bias',
  ]);
  expect(names.slice(-2)).toEqual(['lin3.model.1.weight', 'lin4.model.1.weight']);
  // The convolutions of VGG16 (Simonyan and Zisserman 2015) and one weight for each of 1472 channels.
  expect([...lpips.params().values()].reduce((sum, { size }) => sum + size, 0)).toBe(14_714_688 + 1472);
  expect([...lpips.params().values()].some((param) => param.trainable)).toBe(false);
});

describe('LPIPS', () => {
  beforeAll(() => switchTo('cpu'));

  test('is zero for equal images, symmetric, positive, and has a gradient; no tensors are left', () => {
    const lpips = new Lpips().init(1);
    const [x, y] = [noise([2, 16, 16, 3], 1), noise([2, 16, 16, 3], 2)];
    const before = tf.memory().numTensors;
    const same = lpips.forward(x, x);
    const there = lpips.forward(x, y);
    const back = lpips.forward(y, x);
    const slope = tf.grad((x) => tf.sum(lpips.forward(x as tf.Tensor4D, y)))(x);
    expect(tf.memory().numTensors).toBe(before + 4);
    expect([...same.dataSync()]).toEqual([0, 0]);
    expect(Math.min(...there.dataSync())).toBeGreaterThan(0.01);
    expect(relativeError(there.dataSync(), back.dataSync())).toBeLessThan(1e-6);
    expect(slope.dataSync().every(Number.isFinite)).toBe(true);
    expect(Math.max(...slope.dataSync())).toBeGreaterThan(0);
    expect(() => lpips.forward(x, noise([2, 16, 8, 3]))).toThrow(/same shape and at least 16 x 16/);
    tf.dispose([x, y, same, there, back, slope]);
    lpips.dispose();
  });

  test('has the same gradient on every engine', async () => {
    const gradients: Float32Array[] = [];
    for (const engine of await testEngines()) {
      await switchTo(engine);
      const lpips = new Lpips().init(1);
      const [x, y] = [noise([1, 16, 16, 3], 1), noise([1, 16, 16, 3], 2)];
      const slope = tf.grad((x) => tf.sum(lpips.forward(x as tf.Tensor4D, y)))(x);
      gradients.push(slope.dataSync() as Float32Array);
      tf.dispose([x, y, slope]);
      lpips.dispose();
    }
    await switchTo('cpu');
    // Thirteen layers of float32 sums in another order; a pixel at the bend of a ReLU may fall to the other side.
    for (const gradient of gradients) expect(relativeError(gradient, gradients[0]!)).toBeLessThan(1e-3);
  });

  test('is what the formula gives for the first layer, loaded from the two files that people have', async () => {
    const rng = new TorchGenerator(3);
    const random = (shape: number[], size: number): HostTensor => ({
      shape,
      data: rng.randn(shape.reduce((a, b) => a * b, 1)).map((v) => v * size),
    });
    const vgg: Record<string, HostTensor> = { 'classifier.0.bias': random([2], 1) };
    const widths = new Map([
      [0, [3, 64]],
      [2, [64, 64]],
      [5, [64, 128]],
      [7, [128, 128]],
      [10, [128, 256]],
      [12, [256, 256]],
      [14, [256, 256]],
      [17, [256, 512]],
      [19, [512, 512]],
      [21, [512, 512]],
      [24, [512, 512]],
      [26, [512, 512]],
      [28, [512, 512]],
    ] as const);
    for (const [place, [inputs, outputs]] of widths) {
      vgg[`features.${place}.weight`] = random([outputs, inputs, 3, 3], Math.sqrt(2 / (9 * inputs)));
      vgg[`features.${place}.bias`] = random([outputs], 0.1);
    }
    // Only the first head counts, so that the test computes two convolutions and not thirteen.
    const heads: StateDict = Object.fromEntries(
      [64, 128, 256, 512, 512].map((channels, i) => [
        `lin${i}.model.1.weight`,
        { shape: [1, channels, 1, 1], data: rng.rand(channels).map((v) => (i === 0 ? v : 0)) },
      ]),
    );
    const lpips = await new Lpips().load(lpipsWeights(vgg, heads));
    const [x, y] = [noise([1, 16, 16, 3], 1), noise([1, 16, 16, 3], 2)];
    const expected = tf.tidy(() => {
      const kernel = (place: number) => {
        const { shape, data } = vgg[`features.${place}.weight`]!;
        return tf.transpose(tf.tensor4d(data, shape as [number, number, number, number]), [2, 3, 1, 0]);
      };
      const bias = (place: number) => tf.tensor1d(vgg[`features.${place}.bias`]!.data);
      const unit = (image: tf.Tensor4D) => {
        const standard = tf.div(
          tf.sub(image, tf.tensor1d([-0.03, -0.088, -0.188])),
          tf.tensor1d([0.458, 0.448, 0.45]),
        ) as tf.Tensor4D;
        const first = tf.relu(tf.add(tf.conv2d(standard, kernel(0), 1, 'same'), bias(0))) as tf.Tensor4D;
        const second = tf.relu(tf.add(tf.conv2d(first, kernel(2), 1, 'same'), bias(2)));
        return tf.div(second, tf.norm(second, 2, 3, true));
      };
      const squares = tf.square(tf.sub(unit(x), unit(y)));
      return number(tf.mean(tf.sum(tf.mul(squares, tf.tensor1d(heads['lin0.model.1.weight']!.data)), 3)));
    });
    const measured = number(lpips.forward(x, y));
    expect(Math.abs(measured / expected - 1)).toBeLessThan(1e-5);
    // A whole lpips model in one file, and one inside a VQGAN checkpoint, give the same.
    const state = await lpips.save();
    const inside = Object.fromEntries(Object.entries(state).map(([key, t]) => [`loss.perceptual_loss.${key}`, t]));
    for (const file of [{ ...state, 'scaling_layer.shift': random([1, 3, 1, 1], 1) }, inside]) {
      const again = await new Lpips().load(lpipsWeights(file));
      expect(number(again.forward(x, y))).toBe(measured);
      again.dispose();
    }
    expect(() => lpipsWeights(vgg)).toThrow(/found none of the heads/);
    expect(() => lpipsWeights(heads)).toThrow(/found none of VGG16's convolutions/);
    expect(() => lpipsWeights()).toThrow(/found none of VGG16's convolutions.*\n.*found none of the heads/);
    lpips.dispose();
  });
});
