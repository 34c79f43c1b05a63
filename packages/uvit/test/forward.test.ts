import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type AttentionCall, TorchGenerator, withHooks } from '@mezzotint/core';
import { productsSaved } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { UViT, type UViTConfig } from '../src/index.js';
import { relativeError } from './support/golden.js';
import { randomise, tinyTextUViT, tinyUViT } from './support/tiny.js';

const noise = (seed: number, ...shape: [number, number, number, number]) =>
  tf.tensor4d(new TorchGenerator(seed).randn(shape.reduce((a, b) => a * b)), shape);
const times = (...values: number[]) => tf.tensor1d(values);
const classes = (...values: number[]) => tf.tensor1d(values, 'int32');
const text = (seed: number, n = 1) => tf.tensor3d(new TorchGenerator(seed).randn(n * 15), [n, 3, 5]);

async function build(config: UViTConfig = tinyUViT): Promise<UViT> {
  const model = new UViT(config);
  await randomise(model);
  return model;
}

const [engine] = await testEngines();

describe(`on ${engine}`, () => {
  beforeAll(() => switchTo(engine!));

  describe('what a forward pass refuses', () => {
    const model = new UViT(tinyUViT);
    const x = noise(0, 2, 4, 4, 2);
    const t = times(1, 2);
    const labels = classes(0, 3);
    const texts = new UViT(tinyTextUViT);
    // Problems are found before weights are touched: these models have none.
    test.each<[string, () => unknown, RegExp]>([
      ['channels', () => model.forward(noise(0, 2, 4, 4, 3), t, { labels }), /UViT: x: expected \[N, H, W, 2\], got/],
      ['other sizes', () => model.forward(noise(0, 2, 4, 8, 2), t, { labels }), /expected 4 x 4 pixels.*, got 4 x 8/],
      ['no labels', () => model.forward(x, t), /labels: .*in \[0, 4\) an image, got none/],
      ['text without need', () => model.forward(x, t, { labels, context: text(0, 2) }), /this model takes no text/],
      ['no text', () => texts.forward(x, t), /context: expected \[2,3,5\], got none/],
      ['other text', () => texts.forward(x, t, { context: text(0, 1) }), /context: expected \[2,3,5\], got \[1,3,5\]/],
      ['labels and no text', () => texts.forward(x, t, { labels }), /labels: this model is uncond.*\n.*context: /],
      ['all at once', () => model.forward(x, times(1), { labels: classes(1) }), /time: .*\n.*labels: /],
      ['no weights', () => model.forward(x, t, { labels }), /init\(seed\) or load/],
    ])('%s', (_, run, message) => {
      expect(run).toThrow(message);
    });
  });

  test('initial weights are the original’s: N(0, 0.02^2) for linear maps and positions, zero biases', () => {
    const params = new UViT({ ...tinyUViT, width: 64, classes: 100 }).init(0).params();
    const values = (name: string) => params.get(name)!.value.dataSync<'float32'>();
    const deviation = (v: Float32Array) => Math.sqrt(v.reduce((s, x) => s + x * x, 0) / v.length);
    // The deviation of thousands of draws is within 5 / sqrt(2 n) of the true one.
    for (const [name, std] of [
      ['in_blocks.0.attn.qkv.weight', 0.02],
      ['out_blocks.0.skip_linear.weight', 0.02],
      ['decoder_pred.weight', 0.02],
      ['label_emb.weight', 1],
    ] as const) {
      const v = values(name);
      expect(Math.abs(deviation(v) / std - 1), name).toBeLessThan(5 / Math.sqrt(2 * v.length));
    }
    for (const name of ['in_blocks.0.attn.qkv.bias', 'decoder_pred.bias', 'time_embed.0.bias']) {
      expect(Math.max(...values(name).map(Math.abs)), name).toBe(0);
    }
  });

  test('labels, text, times and positions reach the output', async () => {
    const model = await build();
    const x = noise(1, 1, 4, 4, 2);
    const run = (time: number, label: number) => model.forward(x, times(time), { labels: classes(label) }).dataSync();
    // One token of six, through small weights: far above the 1e-6 of rounding.
    expect(relativeError(run(5, 1), run(5, 3))).toBeGreaterThan(1e-4);
    expect(relativeError(run(5, 1), run(500, 1))).toBeGreaterThan(1e-4);
    const flat = model.forward(tf.ones([1, 4, 4, 2]), times(5), { labels: classes(1) });
    const [left, right] = tf.split(flat, 2, 2) as [tf.Tensor, tf.Tensor];
    expect(relativeError(left.dataSync(), right.dataSync())).toBeGreaterThan(0.001);
    const texts = await build(tinyTextUViT);
    const say = (seed: number) => texts.forward(x, times(5), { context: text(seed) }).dataSync();
    expect(relativeError(say(1), say(2))).toBeGreaterThan(1e-4);
  });

  test('each long skip reaches the block on the other side: the first block’s output goes to the last', async () => {
    const model = await build();
    const run = (skips: (layer: object) => boolean) =>
      withHooks({ skips }, () => model.forward(noise(1, 1, 4, 4, 2), times(5), { labels: classes(1) }).dataSync());
    const all = run(() => false);
    // Without the middle and the inner pair, the outer pair still sees the input through its own skip.
    const outerOnly = (layer: object) =>
      layer === model.mid_block || layer === model.in_blocks[1] || layer === model.out_blocks[0];
    expect(relativeError(run(outerOnly), all)).toBeGreaterThan(0.01);
    expect(Number.isFinite(run(outerOnly)[0])).toBe(true);
  });

  test('images of a batch do not see each other', async () => {
    const model = await build();
    const x = noise(1, 2, 4, 4, 2);
    const both = model.forward(x, times(5, 500), { labels: classes(0, 2) });
    const second = model.forward(tf.slice(x, [1], [1]), times(500), { labels: classes(2) });
    // The same sums; float32 leaves room for another order only.
    expect(relativeError(tf.slice(both, [1], [1]).dataSync(), second.dataSync())).toBeLessThan(1e-5);
  });

  test('guidance sees every attention', async () => {
    const model = await build();
    const run = () => model.forward(noise(1, 1, 4, 4, 2), times(5), { labels: classes(1) }).dataSync();
    const seen: unknown[] = [];
    const attention = (call: AttentionCall) => {
      seen.push(call.by);
      return call.attend();
    };
    expect(withHooks({ attention }, run)).toEqual(run());
    const blocks = [...model.in_blocks, model.mid_block, ...model.out_blocks];
    expect(seen).toEqual(blocks.map((block) => block.attn));
  });

  test('nothing is left behind', async () => {
    const model = await build();
    const [x, t, labels] = [noise(1, 1, 4, 4, 2), times(5), classes(1)];
    const before = tf.memory().numTensors;
    model.forward(x, t, { labels }).dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test('the text’s embedding is made once a run', async () => {
    const model = await build(tinyTextUViT);
    const context = text(5);
    const step = (time: number) => () => model.forward(noise(1, 1, 4, 4, 2), times(time), { context });
    expect(await productsSaved([context], [step(800), step(300)])).toBe(1);
  });
});
