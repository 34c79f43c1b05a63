import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RIN, type RINOutput, rinImageNet64 } from '../src/index.js';
import { goldenModel, goldenWeights, readTensors, relativeError, toTensor } from './support/golden.js';
import { otherRIN, randomise, tinyRIN } from './support/tiny.js';

const engines = await testEngines();

describe.each(engines)('on %s', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  // float32 on both sides: rounding of some 20 layers gives relative errors near 1e-6; 1e-4 is what the project promises.
  test.each(['rin', 'rin-uncond', 'rin-tape-cond'])("the original's passes: %s", async (name) => {
    const io = readTensors(`${name}/io.safetensors`);
    const model = await goldenModel(name);
    const given = <T extends tf.Tensor>(key: string) => toTensor<T>(io[`in.${key}`]!);
    const [x, gamma] = [given<tf.Tensor4D>('x'), given<tf.Tensor1D>('gamma')];
    const { classes, latents, latentWidth, tokenWidth } = model.config;
    const labels = classes === null ? {} : { labels: given<tf.Tensor1D>('y') };
    const tokens = tf.zeros<tf.Rank.R3>([2, model.pass(x, gamma, labels).tokens.shape[1], tokenWidth]);
    const check = (key: string, ours: tf.Tensor) =>
      expect(relativeError(ours.dataSync(), io[`out.${key}`]!.data), key).toBeLessThan(1e-4);

    const before = tf.memory().numTensors;
    const first = model.pass(x, gamma, labels);
    expect(tf.memory().numTensors).toBe(before + 3);
    check('out', first.prediction);
    check('latent', first.latents);
    check('tape', first.tokens);
    check('out', model.forward(x, gamma, labels));
    if (classes === null) return;

    check('out_nolabel', model.pass(x, gamma, { labels: tf.fill([2], classes, 'int32') as tf.Tensor1D }).prediction);
    const second: RINOutput = model.pass(x, gamma, { ...labels, previous: first });
    check('out_selfcond', second.prediction);
    check('latent_selfcond', second.latents);
    const previous = {
      latents: given<tf.Tensor3D>('latent_prev'),
      tokens: io['in.tape_prev'] ? given<tf.Tensor3D>('tape_prev') : tokens,
    };
    expect(previous.latents.shape).toEqual([2, latents, latentWidth]);
    check('out_prev', model.pass(x, gamma, { ...labels, previous }).prediction);
    model.dispose();
  });
});

test('the state dict has the names and shapes of the original checkpoints', async () => {
  for (const name of ['rin', 'rin-uncond', 'rin-tape-cond']) {
    const theirs = goldenWeights(name);
    const ours = (await goldenModel(name)).params();
    expect(new Map([...ours].map(([key, param]) => [key, String(param.fileShape)]))).toEqual(
      new Map(Object.entries(theirs).map(([key, { shape }]) => [key, String(shape)])),
    );
  }
});

test('the same on every engine, for settings that no golden has', async () => {
  for (const config of [tinyRIN, otherRIN]) {
    const outputs: Float32Array[] = [];
    for (const engine of engines) {
      await switchTo(engine);
      const model = new RIN(config);
      await randomise(model);
      const shape = [2, config.imageHeight, config.imageWidth, 2] as [number, number, number, number];
      const x = tf.tensor4d(new TorchGenerator(3).randn(shape.reduce((a, b) => a * b)), shape);
      const [gamma, labels] = [tf.tensor1d([0.2, 0.9]), tf.tensor1d([0, 3], 'int32')];
      const out = model.forward(x, gamma, { labels, rng: new TorchGenerator(5) });
      expect(out.shape).toEqual(shape);
      outputs.push(out.dataSync() as Float32Array);
      model.dispose();
    }
    // The same float32 sums in another order.
    for (const output of outputs) expect(relativeError(output, outputs[0]!)).toBeLessThan(1e-5);
  }
});

test('the self-conditioning starts switched off, and positions as the original’s', async () => {
  await switchTo('cpu');
  const params = rinImageNet64.build().params();
  const initial = (name: string) => {
    const param = params.get(name)!;
    param.initialize(new TorchGenerator(1));
    const values = param.value.dataSync<'float32'>();
    param.dispose();
    return values;
  };
  expect(Math.max(...initial('latent_prev_ln.gamma').map(Math.abs))).toBe(0);
  const positions = initial('latent_pos_emb');
  const deviation = Math.sqrt(positions.reduce((s, v) => s + v * v, 0) / positions.length);
  // A normal cut at two deviations has 0.8796 of its deviation; 97,000 draws give it to 1 %.
  expect(Math.abs(deviation / (0.02 * 0.8796) - 1)).toBeLessThan(0.01);
  expect(Math.max(...positions.map(Math.abs))).toBeLessThanOrEqual(0.04 * (1 + 1e-6));
  // Glorot-uniform as Keras counts it: query kernels [768, 16, 48] have fans 768 * 16 and 768 * 48.
  const query = initial('latent_processing_units.0.enc_layers.0.mha._query_dense.kernel');
  const largest = query.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  expect(largest / Math.sqrt(6 / (768 * (16 + 48)))).toBeGreaterThan(0.999);
  expect(largest / Math.sqrt(6 / (768 * (16 + 48)))).toBeLessThanOrEqual(1 + 1e-6);
});
