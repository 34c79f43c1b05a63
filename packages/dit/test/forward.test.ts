import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type AttentionCall, TorchGenerator, withHooks } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { DiT, type DiTConfig } from '../src/index.js';
import { relativeError } from './support/golden.js';
import { randomise, tinyDiT } from './support/tiny.js';

const noise = (seed: number, ...shape: [number, number, number, number]) =>
  tf.tensor4d(new TorchGenerator(seed).randn(shape.reduce((a, b) => a * b)), shape);
const times = (...values: number[]) => tf.tensor1d(values);
const classes = (...values: number[]) => tf.tensor1d(values, 'int32');

async function build(change: Partial<typeof tinyDiT> = {}): Promise<DiT> {
  const model = new DiT({ ...tinyDiT, ...change });
  await randomise(model);
  return model;
}

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  describe('what a forward pass refuses', () => {
    const model = new DiT(tinyDiT);
    const x = noise(0, 2, 4, 4, 2);
    const t = times(1, 2);
    const labels = classes(0, 3);
    // Problems are found before weights are touched: this model has none.
    test.each<[string, () => unknown, RegExp]>([
      ['channels', () => model.forward(noise(0, 2, 4, 4, 3), t, { labels }), /DiT: x: expected \[N, H, W, 2\], got/],
      ['other sizes', () => model.forward(noise(0, 2, 4, 8, 2), t, { labels }), /expected 4 x 4 pixels.*, got 4 x 8/],
      ['times', () => model.forward(x, times(1), { labels }), /time: expected \[2\], one time an image, got \[1\]/],
      ['float labels', () => model.forward(x, t, { labels: t }), /labels: .*in \[0, 4\) an image, got float32 \[2\]/],
      ['all at once', () => model.forward(x, times(1), { labels: classes(1) }), /time: .*\n.*labels: /],
      ['no weights', () => model.forward(x, t, { labels }), /init\(seed\) or load/],
    ])('%s', (_, run, message) => {
      const before = tf.memory().numTensors;
      expect(run).toThrow(message);
      expect(tf.memory().numTensors).toBeLessThanOrEqual(before + 2); // the test's own inputs
    });

    test('a stretched model still wants whole patches', () => {
      const stretched = new DiT({ ...tinyDiT, otherSizes: 'stretched' });
      expect(() => stretched.forward(noise(0, 2, 5, 4, 2), t, { labels })).toThrow(/that 2 divides, got 5 x 4/);
    });
  });

  test('a fresh DiT answers zero: its last layer starts there; a loaded one does not', async () => {
    const fresh = new DiT(tinyDiT).init(0);
    const run = (model: DiT) => model.forward(noise(1, 1, 4, 4, 2), times(3), { labels: classes(1) });
    expect(Math.max(...run(fresh).dataSync().map(Math.abs))).toBe(0);
    const out = run(await build());
    expect(out.shape).toEqual([1, 4, 4, 4]);
    expect(Math.min(...out.dataSync().map(Math.abs))).toBeGreaterThan(0);
  });

  test('a fresh block is the identity: its gates start at zero', () => {
    const [block] = new DiT(tinyDiT).init(0).blocks;
    const h = tf.tensor3d(new TorchGenerator(2).randn(2 * 4 * 8), [2, 4, 8]);
    expect(block!.forward(h, tf.ones([2, 8])).dataSync()).toEqual(h.dataSync());
  });

  test('initial weights are the paper’s: Xavier-uniform maps, 0.02 for embedders, zero biases', () => {
    const params = new DiT({ ...tinyDiT, width: 64, classes: 100 }).init(0).params();
    const values = (name: string) => params.get(name)!.value.dataSync<'float32'>();
    // Bounds of a uniform distribution are reached to 5 % by thousands of draws, and not passed.
    const largest = (name: string) => values(name).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    for (const [name, fans] of [
      ['blocks.0.attn.qkv.weight', 64 + 192],
      ['blocks.0.mlp.fc1.weight', 64 + 96],
      ['x_embedder.proj.weight', 2 * 2 * 2 + 64],
    ] as const) {
      const bound = Math.sqrt(6 / fans);
      expect(largest(name) / bound, name).toBeGreaterThan(0.95);
      expect(largest(name) / bound, name).toBeLessThanOrEqual(1 + 1e-6);
    }
    for (const name of ['t_embedder.mlp.0.weight', 'y_embedder.embedding_table.weight']) {
      const v = values(name);
      // The deviation of thousands of draws is within 5 / sqrt(2 n) of the true one.
      expect(Math.abs(Math.sqrt(v.reduce((s, x) => s + x * x, 0) / v.length) / 0.02 - 1)).toBeLessThan(0.05);
    }
    for (const name of ['blocks.0.attn.qkv.bias', 'x_embedder.proj.bias', 't_embedder.mlp.2.bias']) {
      expect(largest(name), name).toBe(0);
    }
  });

  test('labels and times reach the output; positions too, of any size that is allowed', async () => {
    for (const embedders of ['shared', 'per-block'] as const) {
      const model = await build({ embedders });
      const x = noise(1, 1, 4, 4, 2);
      const run = (time: number, label: number) => model.forward(x, times(time), { labels: classes(label) }).dataSync();
      expect(relativeError(run(5, 1), run(5, 2))).toBeGreaterThan(0.01);
      expect(relativeError(run(5, 1), run(500, 1))).toBeGreaterThan(0.01);
    }
    const model = await build({ otherSizes: 'stretched' });
    const flat = model.forward(tf.ones([1, 6, 8, 2]), times(5), { labels: classes(1) });
    const [left, right] = tf.split(flat, 2, 2) as [tf.Tensor, tf.Tensor];
    expect(relativeError(left.dataSync(), right.dataSync())).toBeGreaterThan(0.001);
  });

  test('images of a batch do not see each other', async () => {
    const model = await build();
    const x = noise(1, 2, 4, 4, 2);
    const both = model.forward(x, times(5, 500), { labels: classes(0, 2) });
    const second = model.forward(tf.slice(x, [1], [1]), times(500), { labels: classes(2) });
    // The same sums; float32 leaves room for another order only.
    expect(relativeError(tf.slice(both, [1], [1]).dataSync(), second.dataSync())).toBeLessThan(1e-5);
  });

  test('the null label is a label of its own, after the classes; without one there are as many rows as classes', async () => {
    const x = noise(1, 1, 4, 4, 2);
    const model = await build();
    const run = (label: number) => model.forward(x, times(5), { labels: classes(label) }).dataSync();
    expect(relativeError(run(3), run(2))).toBeGreaterThan(0.01);
    const rows = (change: Partial<DiTConfig>) =>
      new DiT({ ...tinyDiT, ...change }).params().get('y_embedder.embedding_table.weight')?.shape;
    expect(rows({})).toEqual([4, 8]);
    expect(rows({ nullLabel: false })).toEqual([3, 8]);
  });

  test('without classes there are no labels', async () => {
    for (const embedders of ['shared', 'per-block'] as const) {
      const model = await build({ classes: null, nullLabel: false, embedders });
      expect([...model.params().keys()].some((name) => name.includes('y_embedder'))).toBe(false);
      expect(model.forward(noise(1, 1, 4, 4, 2), times(5)).shape).toEqual([1, 4, 4, 4]);
      expect(() => model.forward(noise(1, 1, 4, 4, 2), times(5), { labels: classes(1) })).toThrow(/unconditional/);
    }
  });

  test('guidance sees every attention, and can leave blocks out', async () => {
    const model = await build();
    const x = noise(1, 1, 4, 4, 2);
    const run = () => model.forward(x, times(5), { labels: classes(1) }).dataSync();
    const seen: unknown[] = [];
    const attention = (call: AttentionCall) => {
      seen.push(call.by);
      return call.attend();
    };
    const watched = withHooks({ attention }, run);
    expect(seen).toEqual(model.blocks.map((block) => block.attn));
    expect(watched).toEqual(run());
    const without = withHooks({ skips: (layer) => layer === model.blocks[1] }, run);
    expect(relativeError(without, run())).toBeGreaterThan(0.01);
  });

  test('nothing is left behind, with and without an error in the middle', async () => {
    const model = await build({ otherSizes: 'stretched' });
    const x = noise(1, 1, 4, 8, 2);
    const t = times(5);
    const labels = classes(1);
    const before = tf.memory().numTensors;
    model.forward(x, t, { labels }).dispose();
    expect(tf.memory().numTensors).toBe(before);
    const attention = () => {
      throw new Error('no attention');
    };
    expect(() => withHooks({ attention }, () => model.forward(x, t, { labels }))).toThrow('no attention');
    expect(tf.memory().numTensors).toBe(before);
  });
});
