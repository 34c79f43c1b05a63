import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type AttentionCall, TorchGenerator, withHooks } from '@mezzotint/core';
import { brokenNoise, gradientsOf } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { RIN, warmStarted } from '../src/index.js';
import { relativeError } from './support/golden.js';
import { randomise, tinyRIN } from './support/tiny.js';

const noise = (seed: number, n: number) => tf.tensor4d(new TorchGenerator(seed).randn(n * 32), [n, 4, 4, 2]);
const levels = (...values: number[]) => tf.tensor1d(values);
const classes = (...values: number[]) => tf.tensor1d(values, 'int32');

async function build(change: Partial<typeof tinyRIN> = {}): Promise<RIN> {
  const model = new RIN({ ...tinyRIN, ...change });
  await randomise(model);
  return model;
}

const [engine] = await testEngines();
beforeAll(() => switchTo(engine!));

describe('what a pass refuses', () => {
  const model = new RIN(tinyRIN);
  const x = noise(0, 2);
  const gamma = levels(0.1, 0.2);
  const labels = classes(0, 3);
  const previous = { latents: tf.zeros<tf.Rank.R3>([2, 4, 8]), tokens: tf.zeros<tf.Rank.R3>([2, 4, 8]) };
  // Problems are found before weights are touched: this model has none.
  test.each<[string, () => unknown, RegExp]>([
    ['shapes', () => model.forward(tf.zeros([2, 4, 4, 3]), gamma, { labels }), /RIN: x: expected \[N, 4, 4, 2\], got/],
    ['no labels', () => model.forward(x, gamma), /labels: .*in \[0, 4\) an image, got none/],
    [
      'a state of others',
      () => model.pass(x, gamma, { labels, previous }),
      /previous.tokens: expected \[2,4,16\], got/,
    ],
    ['all at once', () => model.forward(x, levels(1), { labels: classes(1) }), /time: .*\n.*labels: /],
    ['no weights', () => model.forward(x, gamma, { labels }), /init\(seed\) or load/],
  ])('%s', (_, run, message) => {
    expect(run).toThrow(message);
  });
});

test('label, signal level, positions and the state before reach the output', async () => {
  const model = await build();
  const x = noise(1, 1);
  const run = (gamma: number, label: number) => model.forward(x, levels(gamma), { labels: classes(label) }).dataSync();
  for (const other of [run(0.5, 2), run(0.1, 1)]) expect(relativeError(run(0.5, 1), other)).toBeGreaterThan(1e-4);
  const flat = model.forward(tf.ones([1, 4, 4, 2]), levels(0.5), { labels: classes(1) });
  const [left, right] = tf.split(flat, 2, 2) as [tf.Tensor, tf.Tensor];
  expect(relativeError(left.dataSync(), right.dataSync())).toBeGreaterThan(1e-3);
  const first = model.pass(x, levels(0.5), { labels: classes(1) });
  const second = model.pass(x, levels(0.5), { labels: classes(1), previous: first });
  expect(relativeError(first.prediction.dataSync(), second.prediction.dataSync())).toBeGreaterThan(1e-4);
});

describe('training with latent self-conditioning', () => {
  const count = 16;
  const x = noise(1, count);
  const gamma = tf.fill([count], 0.4) as tf.Tensor1D;
  const labels = tf.fill([count], 1, 'int32') as tf.Tensor1D;
  const perImage = (out: tf.Tensor4D) => tf.unstack(out).map((image) => image.dataSync());

  test('each image is as after one pass or as after none; the stream says which', async () => {
    const model = await build();
    const alone = perImage(model.forward(x, gamma, { labels }));
    const state = model.pass(x, gamma, { labels });
    const again = perImage(model.pass(x, gamma, { labels, previous: state }).prediction);
    const trained = perImage(model.forward(x, gamma, { labels, rng: new TorchGenerator(3) }));
    const draws = new TorchGenerator(3).rand(count);
    for (const [i, image] of trained.entries()) {
      expect(relativeError(image, draws[i]! < 0.5 ? again[i]! : alone[i]!)).toBeLessThan(1e-5);
    }
    expect(relativeError(again[0]!, alone[0]!)).toBeGreaterThan(1e-4);
  });

  test('no gradient flows through the first pass', async () => {
    const model = await build({ selfConditioningRate: 1 });
    const previous = model.pass(x, gamma, { labels });
    const twoPass = await gradientsOf(model, () => {
      const out = model.forward(x, gamma, { labels, rng: new TorchGenerator(3) });
      return tf.mean(tf.square(out)) as tf.Scalar;
    });
    const onePass = await gradientsOf(model, () => {
      const { prediction } = model.pass(x, gamma, { labels, previous });
      return tf.mean(tf.square(prediction)) as tf.Scalar;
    });
    for (const [name, gradient] of Object.entries(onePass)) {
      if (gradient === undefined || Math.hypot(...gradient) < 1e-6) continue;
      expect(relativeError(twoPass[name]!, gradient), name).toBeLessThan(1e-4);
    }
  });

  test('dropout and stochastic depth happen with a stream only, and scale what stays', async () => {
    const model = await build({ selfConditioning: 'none', blocks: [1], dropPath: 0.5 });
    const run = (seed?: number) =>
      perImage(model.forward(x, gamma, seed === undefined ? { labels } : { labels, rng: new TorchGenerator(seed) }));
    expect(run(1)).toEqual(run(1));
    expect(run(1)).not.toEqual(run(2));
    expect(run()).toEqual(run());
    // Two branches of one layer: four possible networks, whatever the stream says.
    const same = noise(1, 1);
    const tiled = tf.tile(same, [64, 1, 1, 1]) as tf.Tensor4D;
    const out = model.forward(tiled, tf.fill([64], 0.4) as tf.Tensor1D, {
      labels: tf.fill([64], 1, 'int32') as tf.Tensor1D,
      rng: new TorchGenerator(7),
    });
    const kinds = new Set(perImage(out).map((image) => image[0]!.toPrecision(4)));
    expect(kinds.size).toBe(4);
    const dropped = await build({ dropout: 0.5, selfConditioning: 'none' });
    const once = dropped.forward(x, gamma, { labels, rng: new TorchGenerator(1) }).dataSync();
    expect(relativeError(once, dropped.forward(x, gamma, { labels }).dataSync())).toBeGreaterThan(1e-4);
  });
});

describe('the state goes on from step to step', () => {
  const x = noise(1, 2);
  const labels = classes(0, 1);
  const free = classes(3, 3);
  const at = (gamma: number, n = 2) => tf.fill([n], gamma) as tf.Tensor1D;

  test('passes of one level get the same state, and the first leaves the next', async () => {
    const model = await build();
    const warm = warmStarted(model);
    const first = model.pass(x, at(0.1), { labels });
    const run = (gamma: number, labels: tf.Tensor1D) => warm.network(x, at(gamma), { labels }).dataSync();
    expect(run(0.1, labels)).toEqual(first.prediction.dataSync());
    expect(run(0.1, free)).toEqual(model.pass(x, at(0.1), { labels: free }).prediction.dataSync());
    for (const cond of [labels, free]) {
      const expected = model.pass(x, at(0.5), { labels: cond, previous: first }).prediction.dataSync();
      expect(run(0.5, cond)).toEqual(expected);
    }
    warm.dispose();
    expect(run(0.5, labels)).toEqual(model.pass(x, at(0.5), { labels }).prediction.dataSync());
    warm.dispose();
  });

  test('both passes in one batch', async () => {
    const model = await build();
    const warm = warmStarted(model, { images: 2 });
    const both = tf.concat([x, x]) as tf.Tensor4D;
    const cond = { labels: tf.concat([labels, free]) as tf.Tensor1D };
    warm.network(both, at(0.1, 4), cond);
    const out = tf.split(warm.network(both, at(0.5, 4), cond), 2) as tf.Tensor4D[];
    const previous = model.pass(x, at(0.1), { labels });
    for (const [i, labels_] of [labels, free].entries()) {
      const expected = model.pass(x, at(0.5), { labels: labels_, previous }).prediction.dataSync();
      // The same sums in a larger batch.
      expect(relativeError(out[i]!.dataSync(), expected)).toBeLessThan(1e-5);
    }
    warm.dispose();
  });

  test('a saved state goes on, also in the middle of a level', async () => {
    const model = await build();
    const run = (warm: ReturnType<typeof warmStarted>, gamma: number) =>
      warm.network(x, at(gamma), { labels }).dataSync();
    for (const levels of [[0.1], [0.1, 0.5], [0.1, 0.5, 0.5]]) {
      const first = warmStarted(model);
      expect(await first.save()).toEqual([]);
      for (const gamma of levels) run(first, gamma);
      const second = warmStarted(model, { from: await first.save() });
      for (const gamma of [0.5, 0.9]) expect(run(second, gamma)).toEqual(run(first, gamma));
      first.dispose();
      second.dispose();
    }
    expect(() => warmStarted(model, { from: [{ shape: [], data: Float32Array.of(1) }] })).toThrow(
      /expected what save gave/,
    );
  });

  test('nothing is left behind', async () => {
    const model = await build();
    const [low, high] = [at(0.1), at(0.5)];
    const before = tf.memory().numTensors;
    const warm = warmStarted(model);
    for (const gamma of [low, low, high, low]) warm.network(x, gamma, { labels }).dispose();
    warm.dispose();
    model.forward(x, low, { labels, rng: new TorchGenerator(1) }).dispose();
    expect(() => model.forward(x, low, { labels, rng: brokenNoise })).toThrow('no more noise');
    expect(tf.memory().numTensors).toBe(before);
  });
});

test('guidance sees every attention, and can leave layers out', async () => {
  const model = await build();
  const run = () => model.forward(noise(1, 1), levels(0.5), { labels: classes(1) }).dataSync();
  const seen: unknown[] = [];
  const attention = (call: AttentionCall) => {
    seen.push(call.by);
    return call.attend();
  };
  expect(withHooks({ attention }, run)).toEqual(run());
  const { read_units, latent_processing_units, write_units } = model;
  const layer = latent_processing_units[0]!.enc_layers[0]!;
  expect(seen).toEqual([
    read_units[0]!.dec_layers[0].cross_mha,
    layer.mha,
    write_units[0]!.dec_layers[0].cross_mha,
    read_units[1]!.dec_layers[0].cross_mha,
  ]);
  const without = withHooks({ skips: (candidate) => candidate === layer }, run);
  expect(relativeError(without, run())).toBeGreaterThan(1e-4);
});
