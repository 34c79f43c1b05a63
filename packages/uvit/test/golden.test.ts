import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { UViT, type UViTInputs, uvitFromOriginal, uvitTextToImageFromOriginal } from '../src/index.js';
import { readJson, readTensors, relativeError, toTensor } from './support/golden.js';
import { randomise, tinyTextUViT, tinyUViT } from './support/tiny.js';

const engines = await testEngines();

describe.each(engines)('on %s', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  // float32 on both sides: rounding of some 20 layers gives relative errors near 1e-6; 1e-4 is what the project promises.
  test.each([
    ['uvit', uvitFromOriginal],
    ['uvit-uncond', uvitFromOriginal],
    ['uvit-t2i', uvitTextToImageFromOriginal],
  ] as const)("the original's output: %s", async (folder, read) => {
    const io = readTensors(`${folder}/io.safetensors`);
    const model = await new UViT(read(readJson(`${folder}/config.json`))).load(
      readTensors(`${folder}/model.safetensors`),
    );
    const given = (name: string) => (io[name] ? toTensor(io[name]) : undefined);
    const [labels, context] = [given('in.y'), given('in.context')];
    const x = given('in.x') as tf.Tensor4D;
    const time = given('in.timesteps') as tf.Tensor1D;
    const conditions = { ...(labels && { labels }), ...(context && { context }) } as UViTInputs;
    const before = tf.memory().numTensors;
    const out = model.forward(x, time, conditions);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(out.dataSync(), toTensor(io['out.out']!).dataSync())).toBeLessThan(1e-4);
    model.dispose();
  });
});

test('the same on every engine, for settings that no golden has', async () => {
  for (const config of [tinyUViT, tinyTextUViT]) {
    const outputs: Float32Array[] = [];
    for (const engine of engines) {
      await switchTo(engine);
      const model = new UViT(config);
      await randomise(model);
      const x = tf.tensor4d(new TorchGenerator(3).randn(2 * 4 * 4 * 2), [2, 4, 4, 2]);
      const conditions =
        config.context === null
          ? { labels: tf.tensor1d([0, 3], 'int32') }
          : { context: tf.tensor3d(new TorchGenerator(4).randn(2 * 3 * 5), [2, 3, 5]) };
      const out = model.forward(x, tf.tensor1d([10, 500]), conditions);
      expect(out.shape).toEqual([2, 4, 4, 2]);
      outputs.push(out.dataSync() as Float32Array);
      model.dispose();
    }
    // The same float32 sums in another order.
    for (const output of outputs) expect(relativeError(output, outputs[0]!)).toBeLessThan(1e-5);
  }
});
