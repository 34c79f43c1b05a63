import { switchTo, testEngines } from '@mezzotint/backend/testing';
import {
  describe as costOf,
  type HostTensor,
  type Module,
  readNetworkConfig,
  TorchGenerator,
  withHooks,
} from '@mezzotint/core';
import { inverseWaveletTransform, waveletTransform } from '@mezzotint/layers';
import { brokenNoise, checkGradients, relativeError } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  SimpleDiffusionUViT,
  type SimpleDiffusionUViTConfig,
  simpleDiffusionUViT,
  simpleDiffusionUViT128,
  simpleDiffusionUViT256,
  simpleDiffusionUViT512,
} from '../src/index.js';

/** The smallest network that has every part. */
const tiny: SimpleDiffusionUViTConfig = {
  imageSize: 16,
  inChannels: 2,
  patchSize: 2,
  downsampling: 'patches',
  levels: [
    { channels: 4, blocks: 1, dropout: 0 },
    { channels: 6, blocks: 2, dropout: 0 },
  ],
  width: 8,
  depth: 2,
  headWidth: 4,
  mlpRatio: 1.5,
  dropout: 0,
  embeddingWidth: 6,
  groups: 2,
  classes: 3,
  nullLabel: true,
};

async function build(change: Partial<SimpleDiffusionUViTConfig> = {}): Promise<SimpleDiffusionUViT> {
  const model = new SimpleDiffusionUViT({ ...tiny, ...change });
  await randomise(model);
  return model;
}

/** Weights where nothing is zero, so that every parameter matters: normals of deviation 0.3. */
async function randomise(model: Module): Promise<void> {
  const rng = new TorchGenerator(1);
  const state: Record<string, HostTensor> = {};
  for (const [name, param] of model.params()) {
    state[name] = { shape: param.fileShape, data: rng.randn(param.size).map((n) => 0.3 * n) };
  }
  await model.load(state);
}

const noise = (seed: number, n: number) => tf.tensor4d(new TorchGenerator(seed).randn(n * 512), [n, 16, 16, 2]);
const levels = (...values: number[]) => tf.tensor1d(values);
const classes = (...values: number[]) => tf.tensor1d(values, 'int32');

describe('the 2 B network of simple diffusion and VDM++', () => {
  // 36 blocks of width 2048 over 16x16 tokens, scaled and shifted on their 8192 hidden units by an embedding of 1024: 2,455.7 M and
  // 533 G of multiply-adds at 512 pixels in patches of 4; EDM2's table 2 prints 2455 M and, estimated within 10 %, 555.
  test.each([
    [simpleDiffusionUViT512, 2_455_697_456],
    [simpleDiffusionUViT256, 2_455_688_204],
    [simpleDiffusionUViT128, 2_455_685_891],
  ])('$name', (preset, parameters) => {
    const cost = costOf(preset.build(), preset.inputs());
    expect(cost.parameters).toBe(parameters);
    expect(cost.parameters / 1e6).toBeCloseTo(2455.7, 1);
    expect(Math.abs(cost.macs / 1e9 / 532.8 - 1)).toBeLessThan(0.005);
  });
});

const engines = await testEngines();

describe.each(engines)('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test.each(['patches', 'wavelets'] as const)(
    'gradients reach every parameter, and are right: %s',
    async (downsampling) => {
      const model = await build({ downsampling });
      const x = noise(2, 2);
      const [time, labels] = [levels(-3, 5), classes(0, 3)];
      const loss = () => tf.mean(tf.square(model.forward(x, time, { labels }))) as tf.Scalar;
      await checkGradients(model, loss, { step: 1e-3 });
      model.dispose();
    },
  );
});

test('the same on every engine', async () => {
  const outputs: Float32Array[] = [];
  for (const engine of engines) {
    await switchTo(engine);
    const model = await build();
    const out = model.forward(noise(3, 2), levels(-3, 5), { labels: classes(0, 3) });
    expect(out.shape).toEqual([2, 16, 16, 2]);
    outputs.push(out.dataSync() as Float32Array);
    model.dispose();
  }
  // The same float32 sums in another order.
  for (const output of outputs) expect(relativeError(output, outputs[0]!)).toBeLessThan(1e-5);
});

describe('the forward pass', () => {
  beforeAll(() => switchTo(engines[0]!));

  test('a fresh network answers zero: its last layer starts there; blocks start as identities', () => {
    const model = new SimpleDiffusionUViT(tiny).init(0);
    const out = model.forward(noise(1, 1), levels(0), { labels: classes(1) });
    expect(out.dataSync().every((v) => v === 0)).toBe(true);
    const h = tf.tensor3d(new TorchGenerator(2).randn(16 * 8), [1, 16, 8]);
    expect(model.transformer[0]!.forward(h, tf.ones([1, 6])).dataSync()).toEqual(h.dataSync());
    const image = tf.tensor4d(new TorchGenerator(2).randn(64), [1, 4, 4, 4]);
    expect(model.down[0]!.blocks[0]!.forward(image, tf.ones([1, 6])).dataSync()).toEqual(image.dataSync());
  });

  test('labels, levels and positions reach the output; images of a batch do not see each other', async () => {
    const model = await build();
    const x = noise(1, 1);
    const run = (time: number, label: number) => model.forward(x, levels(time), { labels: classes(label) }).dataSync();
    for (const other of [run(0, 2), run(4, 1)]) expect(relativeError(run(0, 1), other)).toBeGreaterThan(1e-3);
    const both = model.forward(tf.concat([noise(2, 1), x]) as tf.Tensor4D, levels(4, 0), { labels: classes(0, 1) });
    // The same sums; float32 leaves room for another order only.
    expect(relativeError(tf.slice(both, [1], [1]).dataSync(), run(0, 1))).toBeLessThan(1e-5);
    const flat = model.forward(tf.ones([1, 16, 16, 2]), levels(0), { labels: classes(1) });
    const [left, right] = tf.split(flat, 2, 2) as [tf.Tensor, tf.Tensor];
    expect(relativeError(left.dataSync(), tf.reverse(right, 2).dataSync())).toBeGreaterThan(1e-4);
  });

  test('every block’s skip goes to the block on the other side', async () => {
    const model = await build();
    const run = (without: readonly object[]) =>
      withHooks({ skips: (layer) => without.includes(layer) }, () =>
        model.forward(noise(1, 1), levels(0), { labels: classes(1) }).dataSync(),
      );
    const all = run([]);
    for (const level of [...model.down, ...model.up]) {
      for (const block of level.blocks) expect(relativeError(run([block]), all)).toBeGreaterThan(1e-3);
    }
    expect(relativeError(run(model.transformer), all)).toBeGreaterThan(1e-3);
  });

  test('dropout is where it is asked for, with a stream only', async () => {
    const x = noise(1, 1);
    const run = (model: SimpleDiffusionUViT, seed?: number) =>
      model
        .forward(x, levels(0), { labels: classes(1), ...(seed !== undefined && { rng: new TorchGenerator(seed) }) })
        .dataSync();
    const none = await build();
    expect(run(none, 1)).toEqual(run(none));
    const level = { channels: 4, blocks: 1, dropout: 0.5 };
    for (const model of [await build({ dropout: 0.5 }), await build({ levels: [level, tiny.levels[1]!] })]) {
      expect(run(model)).toEqual(run(none));
      expect(run(model, 1)).toEqual(run(model, 1));
      expect(relativeError(run(model, 1), run(model))).toBeGreaterThan(1e-3);
    }
  });

  test('wavelets: the weights of patches see their bands, and the bands of the answer are put together', async () => {
    const model = await build({ downsampling: 'wavelets' });
    expect(model.patches.proj.weight.fileShape).toEqual([4, 8, 1, 1]);
    const x = noise(1, 1);
    const run = (image: tf.Tensor4D) => model.forward(image, levels(0), { labels: classes(1) }).dataSync();
    // A network of no patches on the bands, with the same weights, gives the bands of the answer.
    const inner = new SimpleDiffusionUViT({ ...tiny, imageSize: 8, inChannels: 8, patchSize: 1 });
    await inner.load(await model.save());
    const bands = inner.forward(waveletTransform(x), levels(0), { labels: classes(1) });
    expect(relativeError(run(x), inverseWaveletTransform(bands).dataSync())).toBeLessThan(1e-6);
    expect(() => new SimpleDiffusionUViT({ ...tiny, imageSize: 24, patchSize: 3, downsampling: 'wavelets' })).toThrow(
      /patchSize: wavelets halve the sides, so expected a power of 2, got 3/,
    );
  });

  test('a configuration from before there were wavelets has patches', () => {
    const { downsampling: _, ...old } = tiny;
    expect(readNetworkConfig(simpleDiffusionUViT, old)).toEqual(tiny);
  });

  test('what it refuses, all at once; nothing is left behind', async () => {
    const model = await build({ dropout: 0.5 });
    const [x, t, labels] = [noise(1, 1), levels(0), classes(1)];
    expect(() => model.forward(tf.zeros([1, 16, 24, 2]), levels(0, 1), {})).toThrow(
      /SimpleDiffusionUViT:[\s\S]*expected 16 x 16 pixels.*got 16 x 24[\s\S]*time: [\s\S]*labels: /,
    );
    const before = tf.memory().numTensors;
    model.forward(x, t, { labels, rng: new TorchGenerator(0) }).dispose();
    expect(() => model.forward(x, t, { labels, rng: brokenNoise })).toThrow('no more noise');
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('refused before anything is built', () => {
  test.each<[string, Partial<SimpleDiffusionUViTConfig>, RegExp]>([
    ['counts', { depth: 0, classes: 1.5 }, /depth: expected a whole number[\s\S]*classes: /],
    ['a depth out of range', { depth: 1e9 }, /depth: expected at most 1024/],
    ['no levels', { levels: [] }, /levels: expected a list of at least one level/],
    [
      'a bad level',
      { levels: [{ channels: 0, blocks: 1, dropout: 1 }] },
      /levels\[0\].channels: [\s\S]*levels\[0\].dropout: /,
    ],
    ['sizes', { imageSize: 12 }, /imageSize: expected a multiple of 8 .*, got 12/],
    ['groups', { groups: 4 }, /groups: 4 groups do not divide the 6 of levels\[1\]/],
    ['heads', { headWidth: 3 }, /headWidth: heads of 3 do not divide the width 8/],
    ['an odd embedding', { embeddingWidth: 5 }, /embeddingWidth: expected an even number/],
    ['a null label of no labels', { classes: null }, /nullLabel: expected false/],
  ])('%s', (_, change, message) => {
    expect(() => new SimpleDiffusionUViT({ ...tiny, ...change })).toThrow(message);
  });

  test('sizes for data that it cannot take', () => {
    const data = { imageSize: 32, channels: 3, classes: 10 };
    expect(() => simpleDiffusionUViT.sized!('small', { ...data, contextWidth: 8 })).toThrow(/takes no text/);
    expect(() => simpleDiffusionUViT.sized!('small', { ...data, imageSize: 33 })).toThrow(/an even imageSize, got 33/);
  });
});
