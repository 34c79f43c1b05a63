import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator, withHooks } from '@mezzotint/core';
import { brokenNoise, productsSaved } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { ZigMa, type ZigMaConfig, zigmaS1 } from '../src/index.js';
import { relativeError } from './support/golden.js';
import { randomise, tinyZigMa } from './support/tiny.js';

const noise = (seed: number, n: number) => tf.tensor4d(new TorchGenerator(seed).randn(n * 72), [n, 6, 6, 2]);
const times = (...values: number[]) => tf.tensor1d(values);
const classes = (...values: number[]) => tf.tensor1d(values, 'int32');

async function build(change: Partial<ZigMaConfig> = {}): Promise<ZigMa> {
  const model = new ZigMa({ ...tinyZigMa, ...change });
  await randomise(model);
  return model;
}

const [engine] = await testEngines();
beforeAll(() => switchTo(engine!));

describe('what a forward pass refuses', () => {
  const model = new ZigMa(tinyZigMa);
  const x = noise(0, 2);
  const t = times(0.1, 0.2);
  const labels = classes(0, 3);
  const texts = new ZigMa({ ...tinyZigMa, classes: null, nullLabel: false, context: { tokens: 3, width: 5 } });
  // Problems are found before weights are touched: these models have none.
  test.each<[string, () => unknown, RegExp]>([
    ['other sizes', () => model.forward(tf.zeros([2, 6, 8, 2]), t, { labels }), /expected 6 x 6 pixels.*, got 6 x 8/],
    ['no labels', () => model.forward(x, t), /labels: .*in \[0, 4\) an image, got none/],
    ['no text', () => texts.forward(x, t), /context: expected \[2,3,5\], got none/],
    ['all at once', () => model.forward(x, times(1), { labels: classes(1) }), /time: .*\n.*labels: /],
    ['no weights', () => model.forward(x, t, { labels }), /init\(seed\) or load/],
  ])('%s', (_, run, message) => {
    expect(run).toThrow(message);
  });
});

test('a fresh block adds nothing to its normalised input: its gate starts at zero', () => {
  const [block] = new ZigMa(tinyZigMa).init(0).blocks;
  const x = tf.tensor3d(new TorchGenerator(2).randn(2 * 9 * 8), [2, 9, 8]);
  const { h, residual } = block!.forward(x, undefined, tf.ones([2, 8]), { text: undefined, rng: undefined });
  expect(residual.dataSync()).toEqual(x.dataSync());
  expect(relativeError(h.dataSync(), block!.norm.forward(x).dataSync())).toBeLessThan(1e-6);
});

test('initial values are Mamba’s: decays 1 to S, steps log-uniform in [0.001, 0.1], maps out that shrink with the depth', () => {
  const params = zigmaS1.build().params();
  const initial = (name: string) => {
    const param = params.get(name)!;
    param.initialize(new TorchGenerator(1));
    const values = param.value.dataSync<'float32'>();
    param.dispose();
    return values;
  };
  const decays = initial('blocks.0.mixer.A_log').map(Math.exp);
  for (let s = 0; s < 16; s++) expect(decays[16 + s]).toBeCloseTo(s + 1, 4);
  const steps = [...initial('blocks.0.mixer.dt_proj.bias')].map((b) => Math.log1p(Math.exp(b)));
  expect(Math.min(...steps)).toBeGreaterThan(0.00099);
  expect(Math.max(...steps)).toBeLessThan(0.101);
  // The mean of 736 log-uniform draws of deviation log(100) / sqrt(12) is within four of its deviations.
  const mean = steps.reduce((sum, step) => sum + Math.log(step), 0) / steps.length;
  expect(Math.abs(mean - Math.log(0.01))).toBeLessThan((4 * Math.log(100)) / Math.sqrt(12 * 736));
  const out = initial('blocks.0.mixer.out_proj.weight').reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  expect(out * Math.sqrt(736 * 24)).toBeGreaterThan(0.999);
  expect(out * Math.sqrt(736 * 24)).toBeLessThanOrEqual(1 + 1e-6);
  expect(initial('blocks.0.adaLN_modulation.1.weight').every((v) => v === 0)).toBe(true);
  expect(Math.max(...initial('blocks.0.mixer.D'))).toBe(1);
});

test('labels, times, positions and the order of the scan reach the output', async () => {
  const x = noise(1, 1);
  const model = await build();
  const run = (time: number, label: number) => model.forward(x, times(time), { labels: classes(label) }).dataSync();
  for (const other of [run(0.5, 3), run(0.9, 1)]) expect(relativeError(run(0.5, 1), other)).toBeGreaterThan(1e-3);
  const turned = await build({ scan: 'zigzag' });
  expect(relativeError(turned.forward(x, times(0.5), { labels: classes(1) }).dataSync(), run(0.5, 1))).toBeGreaterThan(
    1e-3,
  );
});

test('stochastic depth happens with a stream only, never in the first two blocks, most in what is read out', async () => {
  const model = await build({ dropPath: 0.5, depth: 3 });
  expect(model.blocks.map(({ dropPath }) => dropPath)).toEqual([0, 0, 0.25]);
  const x = noise(1, 2);
  const [t, labels] = [times(0.1, 0.6), classes(0, 1)];
  const run = (seed?: number) =>
    model.forward(x, t, seed === undefined ? { labels } : { labels, rng: new TorchGenerator(seed) }).dataSync();
  expect(run()).toEqual(run());
  expect(run(1)).toEqual(run(1));
  expect([1, 2, 3, 4].some((seed) => relativeError(run(seed), run()) > 1e-3)).toBe(true);
});

test('images of a batch do not see each other; blocks can be left out; nothing is left behind', async () => {
  const model = await build();
  const x = noise(1, 2);
  const [t, labels] = [times(0.1, 0.6), classes(0, 2)];
  const both = model.forward(x, t, { labels });
  const second = model.forward(tf.slice(x, [1], [1]), times(0.6), { labels: classes(2) });
  // The same sums; float32 leaves room for another order only.
  expect(relativeError(tf.slice(both, [1], [1]).dataSync(), second.dataSync())).toBeLessThan(1e-5);
  const run = () => model.forward(x, t, { labels }).dataSync();
  const without = withHooks({ skips: (layer) => layer === model.blocks[1] }, run);
  expect(relativeError(without, run())).toBeGreaterThan(1e-3);
  const before = tf.memory().numTensors;
  model.forward(x, t, { labels, rng: new TorchGenerator(0) }).dispose();
  const dropping = await build({ dropPath: 0.5 });
  expect(() => dropping.forward(x, t, { labels, rng: brokenNoise })).toThrow('no more noise');
  dropping.dispose();
  expect(tf.memory().numTensors).toBe(before);
});

test('the text’s embedding, keys and values are made once a run', async () => {
  const model = await build({ classes: null, nullLabel: false, context: { tokens: 3, width: 5 } });
  const context = tf.tensor3d(new TorchGenerator(5).randn(30), [2, 3, 5]);
  const step = (time: number) => () => model.forward(noise(1, 2), times(time, time), { context });
  expect(await productsSaved([context], [step(0.2), step(0.7)])).toBe(1 + 2 * tinyZigMa.depth);
});
