import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { brokenNoise } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  ADMUNet,
  type ADMUNetConfig,
  type ClassifierPool,
  NoisyClassifier,
  SuperResolutionUNet,
} from '../src/index.js';
import { relativeError } from './support/golden.js';
import { randomise, tinyClassifier, tinyUNet } from './support/tiny.js';

const noise = (seed: number, ...shape: [number, number, number, number]) =>
  tf.tensor4d(new TorchGenerator(seed).randn(shape.reduce((a, b) => a * b)), shape);
const times = (...values: number[]) => tf.tensor1d(values);
const classes = (...values: number[]) => tf.tensor1d(values, 'int32');

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  describe('what a forward pass refuses', () => {
    const conditional = new ADMUNet(tinyUNet);
    const plain = new ADMUNet({ ...tinyUNet, classes: null });
    const upsampler = new SuperResolutionUNet({ ...tinyUNet, classes: null });
    const classifier = new NoisyClassifier(tinyClassifier);
    const x = noise(0, 2, 8, 8, 2);
    const t = times(1, 2);
    // Problems are found before weights are touched: these models have none.
    test.each<[string, () => unknown, RegExp]>([
      ['channels', () => plain.forward(noise(0, 2, 8, 8, 3), t), /UNet: x: expected \[N, H, W, 2\], got \[2,8,8,3\]/],
      ['odd sizes', () => plain.forward(noise(0, 2, 7, 8, 2), t), /height and a width that 2 divides, got 7 x 8/],
      ['times', () => plain.forward(x, times(1)), /time: expected \[2\], one time an image, got \[1\]/],
      [
        'no labels',
        () => conditional.forward(x, t),
        /labels: expected int32 \[2\], one class in \[0, 3\) an image, got none/,
      ],
      ['float labels', () => conditional.forward(x, t, { labels: t }), /labels: .*, got float32 \[2\]/],
      ['too few labels', () => conditional.forward(x, t, { labels: classes(1) }), /labels: .*, got int32 \[1\]/],
      ['labels for nothing', () => plain.forward(x, t, { labels: classes(1, 2) }), /this model is unconditional/],
      ['no lowRes', () => upsampler.forward(x, t), /SuperResolutionUNet: lowRes: expected \[2, h, w, 2\], got none/],
      ['lowRes', () => upsampler.forward(x, t, { lowRes: noise(0, 1, 4, 4, 2) }), /lowRes: .*, got \[1,4,4,2\]/],
      [
        'another size',
        () => classifier.forward(noise(0, 2, 16, 8, 2), t),
        /attention pooling takes 8 x 8 only, got 16 x 8/,
      ],
      ['all at once', () => conditional.forward(x, times(1)), /time: .*\n.*labels: /],
    ])('%s', (_, run, message) => {
      const before = tf.memory().numTensors;
      expect(run).toThrow(message);
      expect(tf.memory().numTensors).toBeLessThanOrEqual(before + 2); // the test's own inputs
    });

    test('a model without weights says so', () => {
      expect(() => plain.forward(x, t)).toThrow(/init\(seed\) or load/);
    });
  });

  test('a fresh UNet answers zero: its last convolution starts there; a loaded one does not', async () => {
    const model = new ADMUNet(tinyUNet).init(0);
    const run = () => model.forward(noise(1, 1, 8, 8, 2), times(3), { labels: classes(1) });
    expect(Math.max(...run().dataSync().map(Math.abs))).toBe(0);
    await randomise(model);
    const out = run();
    expect(out.shape).toEqual([1, 8, 8, 4]);
    expect(Math.min(...out.dataSync().map(Math.abs))).toBeGreaterThan(0);
  });

  test('labels, times and the low-resolution image reach the output', async () => {
    const model = new ADMUNet(tinyUNet);
    await randomise(model);
    const x = noise(1, 1, 8, 8, 2);
    const run = (time: number, label: number) => model.forward(x, times(time), { labels: classes(label) }).dataSync();
    expect(relativeError(run(5, 1), run(5, 2))).toBeGreaterThan(0.01);
    expect(relativeError(run(5, 1), run(500, 1))).toBeGreaterThan(0.01);

    const upsampler = new SuperResolutionUNet({ ...tinyUNet, classes: null });
    await randomise(upsampler);
    const enlarge = (seed: number) => upsampler.forward(x, times(5), { lowRes: noise(seed, 1, 2, 2, 2) }).dataSync();
    expect(relativeError(enlarge(1), enlarge(2))).toBeGreaterThan(0.01);
  });

  test('images of a batch do not see each other', async () => {
    const model = new ADMUNet(tinyUNet);
    await randomise(model);
    const x = noise(1, 2, 8, 8, 2);
    const both = model.forward(x, times(5, 500), { labels: classes(0, 2) });
    const second = model.forward(tf.slice(x, [1], [1]), times(500), { labels: classes(2) });
    // The same sums; float32 leaves room for another order only.
    expect(relativeError(tf.slice(both, [1], [1]).dataSync(), second.dataSync())).toBeLessThan(1e-5);
  });

  describe('dropout', () => {
    const build = async (config: ADMUNetConfig) => {
      const model = new ADMUNet(config);
      await randomise(model);
      const x = noise(1, 1, 8, 8, 2);
      const labels = classes(1);
      return (seed?: number) =>
        model
          .forward(x, times(5), seed === undefined ? { labels } : { labels, rng: new TorchGenerator(seed) })
          .dataSync();
    };

    test('happens with a stream only, and the stream decides it', async () => {
      const run = await build({ ...tinyUNet, dropout: 0.5 });
      const without = await build(tinyUNet);
      expect(run()).toEqual(without());
      expect(run(1)).toEqual(run(1));
      expect(relativeError(run(1), run())).toBeGreaterThan(0.01);
      expect(relativeError(run(1), run(2))).toBeGreaterThan(0.01);
    });

    test('at rate 0 a stream changes nothing', async () => {
      const run = await build(tinyUNet);
      expect(run(1)).toEqual(run());
    });
  });

  describe('classifier heads', () => {
    test.each<[ClassifierPool, number]>([
      ['attention', 16],
      ['adaptive', 16],
      ['spatial', 2048],
      ['spatial_v2', 2048],
    ])('%s: logits are the last linear map of %d features', async (pool, width) => {
      const model = new NoisyClassifier({ ...tinyClassifier, pool });
      await randomise(model);
      const x = noise(1, 2, 8, 8, 2);
      const features = model.features(x, times(0, 7));
      const logits = model.forward(x, times(0, 7));
      expect(features.shape).toEqual([2, width]);
      expect(logits.shape).toEqual([2, 5]);
      const params = [...model.params().values()];
      const [weight, bias] = params.slice(-2);
      const matrix = tf.reshape((await weight!.toHost()).data, [5, width]) as tf.Tensor2D; // [O, I, 1(, 1)] in files
      const byHand = tf.add(tf.matMul(features, matrix, false, true), (await bias!.toHost()).data);
      expect(relativeError(logits.dataSync(), byHand.dataSync())).toBeLessThan(1e-5); // one float32 product, either way
      expect(
        relativeError(tf.slice(logits, [0], [1]).dataSync(), tf.slice(logits, [1], [1]).dataSync()),
      ).toBeGreaterThan(0.01);
    });

    test('heads without positions take every size', async () => {
      const model = new NoisyClassifier({ ...tinyClassifier, pool: 'adaptive' });
      await randomise(model);
      expect(model.forward(noise(1, 1, 4, 12, 2), times(0)).shape).toEqual([1, 5]);
    });
  });

  test('nothing is left behind, with and without an error in the middle', async () => {
    const model = new ADMUNet({ ...tinyUNet, dropout: 0.1 });
    await randomise(model);
    const classifier = new NoisyClassifier(tinyClassifier);
    await randomise(classifier);
    const x = noise(1, 1, 8, 8, 2);
    const t = times(5);
    const labels = classes(1);
    const rng = new TorchGenerator(0);
    const before = tf.memory().numTensors;
    model.forward(x, t, { labels, rng }).dispose();
    classifier.forward(x, t).dispose();
    classifier.features(x, t).dispose();
    expect(tf.memory().numTensors).toBe(before);
    expect(() => model.forward(x, t, { labels, rng: brokenNoise })).toThrow('no more noise');
    expect(tf.memory().numTensors).toBe(before);
  });
});
