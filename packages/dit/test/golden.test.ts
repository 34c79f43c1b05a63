import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DiT, ditFromOriginal, ditXl2 } from '../src/index.js';
import { readJson, readTensors, relativeError, toTensor } from './support/golden.js';
import { randomise, tinyDiT } from './support/tiny.js';

const engines = await testEngines();

// diffusers' goldens have other names, which `weights` translates: they are run by tooling/golden's tests.
describe.each(engines)('on %s', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  // float32 on both sides: rounding of some 20 layers gives relative errors near 1e-6; 1e-4 is what the project promises.
  test('the original’s output', async () => {
    const io = readTensors('dit-original/io.safetensors');
    const model = await new DiT(ditFromOriginal(readJson('dit-original/config.json'))).load(
      readTensors('dit-original/model.safetensors'),
    );
    const x = toTensor(io['in.x']!) as tf.Tensor4D;
    const time = toTensor(io['in.t']!) as tf.Tensor1D;
    const labels = toTensor(io['in.y']!) as tf.Tensor1D;
    const before = tf.memory().numTensors;
    const out = model.forward(x, time, { labels });
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(out.dataSync(), toTensor(io['out.out']!).dataSync())).toBeLessThan(1e-4);
    model.dispose();
  });
});

test('fresh positions are those of the original checkpoint', async () => {
  await switchTo('cpu');
  const { data } = readTensors('dit-original/model.safetensors').pos_embed!;
  const model = new DiT(ditFromOriginal(readJson('dit-original/config.json'))).init(0);
  const ours = model.pos_embed.value.dataSync();
  // float64 rounded once: within one unit in the last place of 1.
  expect(Math.max(...data.map((value, i) => Math.abs(value - ours[i]!)))).toBeLessThan(1.2e-7);
  model.dispose();
});

test('positions of DiT-XL/2: sum and length as the reference’s', async () => {
  await switchTo('cpu');
  const positions = ditXl2.build().pos_embed;
  positions.initialize(new TorchGenerator(0));
  const values = positions.value.dataSync<'float32'>();
  // Printed with four decimals; float32 values of up to 1, whose roundings add up to about 1e-7 sqrt(295,000).
  expect(values.reduce((sum, v) => sum + v, 0)).toBeCloseTo(134_598.9478, 2);
  expect(Math.sqrt(values.reduce((sum, v) => sum + v * v, 0))).toBeCloseTo(384, 3);
  positions.dispose();
});

test('the same on every engine, for settings that no golden has', async () => {
  const changes = { embedders: 'per-block', otherSizes: 'stretched', qkvBias: false, frequencyShift: 1 } as const;
  const outputs: Float32Array[] = [];
  for (const engine of engines) {
    await switchTo(engine);
    const model = new DiT({ ...tinyDiT, ...changes });
    await randomise(model);
    const x = tf.tensor4d(new TorchGenerator(3).randn(2 * 6 * 8 * 2), [2, 6, 8, 2]);
    const out = model.forward(x, tf.tensor1d([10, 500]), { labels: tf.tensor1d([0, 3], 'int32') });
    expect(out.shape).toEqual([2, 6, 8, 4]);
    outputs.push(out.dataSync() as Float32Array);
    model.dispose();
  }
  // The same float32 sums in another order.
  for (const output of outputs) expect(relativeError(output, outputs[0]!)).toBeLessThan(1e-5);
});
