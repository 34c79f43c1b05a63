import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  ADMUNet,
  classifierFromGuidedDiffusion,
  fromGuidedDiffusion,
  NoisyClassifier,
  SuperResolutionUNet,
  UNet2D,
  unet2dFromDiffusers,
} from '../src/index.js';
import { readJson, readTensors, relativeError, toTensor } from './support/golden.js';
import { randomise, tinyUNet } from './support/tiny.js';

const engines = await testEngines();

// float32 on both sides: rounding of some 50 layers gives relative errors near 1e-6; 1e-4 is what the project promises.
const tolerance = 1e-4;

/** Inputs of a golden, in our layout. */
function inputsOf(io: ReturnType<typeof readTensors>) {
  return {
    x: toTensor(io['in.x']!) as tf.Tensor4D,
    time: toTensor(io['in.timesteps']!) as tf.Tensor1D,
    ...(io['in.y'] && { labels: toTensor(io['in.y']) as tf.Tensor1D }),
    ...(io['in.low_res'] && { lowRes: toTensor(io['in.low_res']) as tf.Tensor4D }),
  };
}

describe.each(engines)('on %s, the outputs of the references', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  // The two models share their weights: only the order of q, k and v differs.
  test.each(['adm-legacy-attention', 'adm-new-attention'])('%s', async (folder) => {
    const io = readTensors(`${folder}/io.safetensors`);
    const model = await new ADMUNet(fromGuidedDiffusion(readJson(`${folder}/config.json`))).load(
      readTensors('adm-legacy-attention/model.safetensors'),
    );
    const { x, time, labels } = inputsOf(io);
    const before = tf.memory().numTensors;
    const out = model.forward(x, time, labels ? { labels } : {});
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(out.dataSync(), toTensor(io['out.out']!).dataSync())).toBeLessThan(tolerance);
    model.dispose();
  });

  test('adm-super-resolution', async () => {
    const io = readTensors('adm-super-resolution/io.safetensors');
    const config = fromGuidedDiffusion(readJson('adm-super-resolution/config.json'));
    const model = await new SuperResolutionUNet(config).load(readTensors('adm-super-resolution/model.safetensors'));
    const { x, time, lowRes } = inputsOf(io);
    const before = tf.memory().numTensors;
    const out = model.forward(x, time, { lowRes: lowRes! });
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(out.dataSync(), toTensor(io['out.out']!).dataSync())).toBeLessThan(tolerance);
    model.dispose();
  });

  test('diffusers’ unet2d', async () => {
    const io = readTensors('unet2d/io.safetensors');
    const model = await new UNet2D(unet2dFromDiffusers(readJson('unet2d/config.json'))).load(
      readTensors('unet2d/model.safetensors'),
    );
    const x = toTensor(io['in.sample']!) as tf.Tensor4D;
    const time = toTensor(io['in.timestep']!) as tf.Tensor1D;
    const before = tf.memory().numTensors;
    const out = model.forward(x, time);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(out.dataSync(), toTensor(io['out.sample']!).dataSync())).toBeLessThan(tolerance);
    model.dispose();
  });

  test('adm-classifier: logits, and 100 times the gradient of sum log p(y | x, t) with respect to x', async () => {
    const io = readTensors('adm-classifier/io.safetensors');
    const config = classifierFromGuidedDiffusion(readJson('adm-classifier/config.json'));
    const model = await new NoisyClassifier(config).load(readTensors('adm-classifier/model.safetensors'));
    const { x, time, labels } = inputsOf(io);
    const before = tf.memory().numTensors;
    const logits = model.forward(x, time);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(logits.dataSync(), io['out.logits']!.data)).toBeLessThan(tolerance);
    const chosen = tf.oneHot(labels!, config.classes);
    const gradient = tf.tidy(() =>
      tf.grad((x) => tf.sum(tf.mul(tf.logSoftmax(model.forward(x as tf.Tensor4D, time)), chosen)))(x),
    );
    const expected = toTensor(io['out.grad']!).dataSync();
    expect(relativeError(tf.mul(gradient, 100).dataSync(), expected)).toBeLessThan(tolerance);
    model.dispose();
  });
});

test('the goldens tell the two orders of q, k and v apart', async () => {
  await switchTo('cpu');
  const io = readTensors('adm-new-attention/io.safetensors');
  const legacy = fromGuidedDiffusion(readJson('adm-legacy-attention/config.json'));
  const model = await new ADMUNet(legacy).load(readTensors('adm-legacy-attention/model.safetensors'));
  const { x, time, labels } = inputsOf(io);
  const out = model.forward(x, time, { labels: labels! });
  expect(relativeError(out.dataSync(), toTensor(io['out.out']!).dataSync())).toBeGreaterThan(100 * tolerance);
});

test('the same on every engine, for settings that no golden has', async () => {
  for (const resampling of ['conv', 'pool'] as const) {
    const outputs: Float32Array[] = [];
    for (const engine of engines) {
      await switchTo(engine);
      const model = new ADMUNet({ ...tinyUNet, resampling, timeConditioning: 'additive', heads: { count: 2 } });
      await randomise(model);
      const x = tf.tensor4d(new TorchGenerator(3).randn(2 * 8 * 4 * 2), [2, 8, 4, 2]);
      const out = model.forward(x, tf.tensor1d([10, 500]), { labels: tf.tensor1d([0, 2], 'int32') });
      outputs.push(out.dataSync() as Float32Array);
      model.dispose();
    }
    // The same float32 sums in another order.
    for (const output of outputs) expect(relativeError(output, outputs[0]!)).toBeLessThan(1e-5);
  }
});
