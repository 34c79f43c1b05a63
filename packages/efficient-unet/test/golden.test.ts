import { switchTo, testEngines } from '@mezzotint/backend/testing';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EfficientUNet, type EfficientUNetInputs, efficientUNetFromImagenPytorch } from '../src/index.js';
import { readJson, readTensors, relativeError, toTensor } from './support/golden.js';
import { conditions, noisy, randomise, tinyBase, tinyEfficient } from './support/tiny.js';

const engines = await testEngines();

describe.each(engines)('on %s', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  // float32 on both sides: rounding of some 30 layers gives relative errors near 1e-6; 1e-4 is what the project promises.
  test.each(['imagen-unet', 'imagen-sr-unet'])("imagen-pytorch's output, with and without text: %s", async (folder) => {
    const io = readTensors(`${folder}/io.safetensors`);
    const config = efficientUNetFromImagenPytorch(readJson(`${folder}/config.json`));
    const model = await new EfficientUNet(config).load(readTensors(`${folder}/model.safetensors`));
    const given = <T extends tf.Tensor>(name: string) => toTensor(io[`in.${name}`]!) as T;
    const lowRes = config.lowRes && {
      lowRes: given<tf.Tensor4D>('lowres_cond_img'),
      lowResTime: given<tf.Tensor1D>('lowres_noise_times'),
    };
    const inputs: EfficientUNetInputs = {
      context: given<tf.Tensor3D>('text_embeds'),
      contextMask: given<tf.Tensor2D>('text_mask'),
      ...lowRes,
    };
    const run = (inputs: EfficientUNetInputs) =>
      model.forward(given<tf.Tensor4D>('x'), given<tf.Tensor1D>('time'), inputs).dataSync();
    expect(relativeError(run(inputs), toTensor(io['out.out']!).dataSync())).toBeLessThan(1e-4);
    const none = { ...inputs, contextMask: tf.zerosLike(inputs.contextMask!) };
    expect(relativeError(run(none), toTensor(io['out.out_null_text']!).dataSync())).toBeLessThan(1e-4);
    model.dispose();
  });

  test('makes one tensor', async () => {
    const model = new EfficientUNet(tinyEfficient);
    await randomise(model);
    const [x, time, inputs] = [noisy(), tf.tensor1d([1, -2]), conditions(tinyEfficient)];
    const before = tf.memory().numTensors;
    model.forward(x, time, inputs);
    expect(tf.memory().numTensors).toBe(before + 1);
    model.dispose();
  });
});

test.each([
  ['base', tinyBase],
  ['efficient', tinyEfficient],
])('the same on every engine, for settings that no golden has: %s', async (_, config) => {
  const outputs: Float32Array[] = [];
  for (const engine of engines) {
    await switchTo(engine);
    const model = new EfficientUNet(config);
    await randomise(model);
    const out = model.forward(noisy(), tf.tensor1d([1, -2]), conditions(config));
    expect(out.shape).toEqual([2, 4, 4, 2]);
    outputs.push(out.dataSync() as Float32Array);
    model.dispose();
  }
  // The same float32 sums in another order.
  for (const output of outputs) expect(relativeError(output, outputs[0]!)).toBeLessThan(1e-5);
});
