import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { InvalidArgumentError, type Module, zeros } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  Conv2d,
  Embedding,
  FourierEmbedding,
  GaussianFourierProjection,
  GroupNorm,
  LayerNorm,
  Linear,
  Mlp,
  PatchEmbed,
  RmsNorm,
  SelfAttention,
} from '../src/index.js';

const state = (module: Module) =>
  Object.fromEntries([...module.params()].map(([name, param]) => [name, param.fileShape]));

describe('state dicts, as PyTorch spells them', () => {
  test.each<[string, Module, Record<string, number[]>]>([
    ['Linear', new Linear(3, 5), { weight: [5, 3], bias: [5] }],
    ['Linear without bias', new Linear(3, 5, { bias: false }), { weight: [5, 3] }],
    ['Conv2d', new Conv2d(3, 5, 3), { weight: [5, 3, 3, 3], bias: [5] }],
    ['Conv2d without bias', new Conv2d(3, 5, 1, { bias: false }), { weight: [5, 3, 1, 1] }],
    ['PatchEmbed', new PatchEmbed(2, 3, 5), { 'proj.weight': [5, 3, 2, 2], 'proj.bias': [5] }],
    [
      'SelfAttention without qkv bias',
      new SelfAttention(4, 2, { qkvBias: false }),
      { 'qkv.weight': [12, 4], 'proj.weight': [4, 4], 'proj.bias': [4] },
    ],
    [
      'Mlp',
      new Mlp(3, 5, { activation: 'erf' }),
      { 'fc1.weight': [5, 3], 'fc1.bias': [5], 'fc2.weight': [3, 5], 'fc2.bias': [3] },
    ],
    ['PatchEmbed without bias', new PatchEmbed(2, 3, 5, { bias: false }), { 'proj.weight': [5, 3, 2, 2] }],
    ['GroupNorm', new GroupNorm(2, 4), { weight: [4], bias: [4] }],
    ['LayerNorm', new LayerNorm(4), { weight: [4], bias: [4] }],
    ['LayerNorm without affine', new LayerNorm(4, { affine: false }), {}],
    ['RmsNorm', new RmsNorm(4), { weight: [4] }],
    ['Embedding', new Embedding(7, 4), { weight: [7, 4] }],
    ['FourierEmbedding', new FourierEmbedding(8), { freqs: [4] }],
    ['GaussianFourierProjection', new GaussianFourierProjection(8), { W: [4] }],
  ])('%s', (_, module, expected) => expect(state(module)).toEqual(expected));
});

describe('initial values', () => {
  beforeAll(() => switchTo('cpu'));

  const spread = async (module: Module, name: string) => {
    const data = Array.from((await module.init(3).save())[name]!.data);
    module.dispose();
    const mean = data.reduce((sum, x) => sum + x, 0) / data.length;
    return {
      mean,
      deviation: Math.sqrt(data.reduce((sum, x) => sum + (x - mean) ** 2, 0) / data.length),
      largest: data.reduce((most, x) => Math.max(most, Math.abs(x)), 0),
    };
  };

  // U(-b, b) has the deviation b / sqrt 3; of 9,000 draws the measured one is within 5 times 0.5 %.
  test.each<[string, Module, number]>([
    ['Linear', new Linear(100, 90), 0.1],
    ['Conv2d', new Conv2d(25, 40, 3), 1 / 15],
  ])('%s is uniform within 1 / sqrt(fan in)', async (_, module, bound) => {
    const { mean, deviation, largest } = await spread(module, 'weight');
    expect(largest).toBeLessThanOrEqual(bound);
    expect(Math.abs(deviation / (bound / Math.sqrt(3)) - 1)).toBeLessThan(0.025);
    expect(Math.abs(mean)).toBeLessThan((5 * bound) / Math.sqrt(3 * 9000));
  });

  test('Embedding is standard normal', async () => {
    const { mean, deviation } = await spread(new Embedding(100, 90), 'weight');
    expect(Math.abs(deviation - 1)).toBeLessThan(0.04);
    expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(9000));
  });

  test('zeros make a zero module', async () => {
    const saved = await new Conv2d(2, 3, 3, { init: zeros }).init(1).save();
    expect(Object.values(saved).flatMap(({ data }) => Array.from(data))).toEqual(new Array(57).fill(0));
  });
});

const engines = await testEngines();

describe.each(engines)('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  const shapeOf = (run: () => tf.Tensor) => tf.tidy(() => run().shape);

  test('forward shapes', () => {
    const image = tf.ones([2, 6, 6, 4]) as tf.Tensor4D;
    const cases: [Module & { forward(x: tf.Tensor): tf.Tensor }, tf.Tensor, number[]][] = [
      [new Linear(4, 5), image, [2, 6, 6, 5]],
      [new Conv2d(4, 5, 3) as never, image, [2, 6, 6, 5]],
      [new Conv2d(4, 5, 3, { stride: 2 }) as never, image, [2, 3, 3, 5]],
      [new Conv2d(4, 5, 1) as never, image, [2, 6, 6, 5]],
      [new Conv2d(4, 5, 3, { padding: 0 }) as never, image, [2, 4, 4, 5]],
      [new GroupNorm(2, 4), image, [2, 6, 6, 4]],
      [new LayerNorm(4), image, [2, 6, 6, 4]],
      [new RmsNorm(4), image, [2, 6, 6, 4]],
      [new Embedding(7, 3), tf.tensor2d([[0, 6]], [1, 2], 'int32'), [1, 2, 3]],
      [new FourierEmbedding(8) as never, tf.ones([5]), [5, 8]],
    ];
    const before = tf.memory().numTensors;
    for (const [module, x, expected] of cases) {
      module.init(1);
      expect(shapeOf(() => module.forward(x))).toEqual(expected);
      module.dispose();
    }
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose(cases.map(([, x]) => x));
  });

  test('a norm normalises', () => {
    tf.tidy(() => {
      const x = tf.add(tf.mul(tf.reshape(tf.range(0, 48), [2, 6, 4]), 3), 100);
      const { mean, variance } = tf.moments(tf.reshape(new GroupNorm(2, 4).init(1).forward(x), [2, 6, 2, 2]), [1, 3]);
      // Exactly normalised up to epsilon and the rounding of 1e2 / 3e1 in float32.
      expect(tf.max(tf.abs(mean)).dataSync()[0]).toBeLessThan(1e-5);
      expect(tf.max(tf.abs(tf.sub(variance, 1))).dataSync()[0]).toBeLessThan(1e-4);
    });
  });
});

describe('what cannot be', () => {
  test.each<[string, () => unknown]>([
    ['groups that do not divide the channels', () => new GroupNorm(3, 4)],
    ['an odd Fourier width', () => new FourierEmbedding(7)],
  ])('%s', (_, make) => expect(make).toThrow(InvalidArgumentError));
});
