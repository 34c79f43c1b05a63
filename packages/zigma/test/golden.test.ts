import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { Param, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ZigMa, type ZigMaInputs, zigmaFromOriginal } from '../src/index.js';
import { readJson, readTensors, relativeError, toTensor } from './support/golden.js';
import { randomise, tinyBidirectional, tinyMamba2, tinyZigMa } from './support/tiny.js';

const engines = await testEngines();

describe.each(engines)('on %s', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  // float32 on both sides; the reference itself is 1.5e-5 from float64 in its gradients. 1e-4 is what the project promises.
  test.each(['zigma-class', 'zigma-text', 'zigma-sweep'])("the original's output and gradients: %s", async (folder) => {
    const io = readTensors(`${folder}/io.safetensors`);
    const model = await new ZigMa(zigmaFromOriginal(readJson(`${folder}/config.json`))).load(
      readTensors(`${folder}/model.safetensors`),
    );
    const given = (name: string) => (io[name] ? toTensor(io[name]) : undefined);
    const [labels, context, weight] = [given('in.y'), given('in.context'), given('in.weight')!];
    const [x, time] = [given('in.x') as tf.Tensor4D, given('in.t') as tf.Tensor1D];
    const conditions = { ...(labels && { labels }), ...(context && { context }) } as ZigMaInputs;
    const check = (name: string, ours: tf.Tensor) =>
      expect(relativeError(ours.dataSync(), toTensor(io[`out.${name}`]!).dataSync()), name).toBeLessThan(1e-4);
    const before = tf.memory().numTensors;
    const out = model.forward(x, time, conditions);
    expect(tf.memory().numTensors).toBe(before + 1);
    check('out', out);

    const names = ['blocks.0.mixer.A_log', 'blocks.0.mixer.dt_proj.weight'];
    const params = names.map((name) => model.params().get(name)!);
    const loss = (x: tf.Tensor, ...values: tf.Tensor[]) =>
      Param.substituteAll(
        params.map((param, i) => [param, values[i]!] as const),
        () => tf.sum(tf.mul(weight, model.forward(x as tf.Tensor4D, time, conditions))) as tf.Scalar,
      );
    const gradients = tf.grads(loss)([x, ...params.map((param) => param.value)]);
    for (const [i, name] of ['x', ...names].entries()) check(`grad_${name}`, gradients[i]!);
    model.dispose();
  });
});

test('the same on every engine, for settings that no golden has', async () => {
  for (const config of [tinyZigMa, tinyBidirectional, tinyMamba2]) {
    const outputs: Float32Array[] = [];
    for (const engine of engines) {
      await switchTo(engine);
      const model = new ZigMa(config);
      await randomise(model);
      const x = tf.tensor4d(new TorchGenerator(3).randn(2 * 6 * 6 * 2), [2, 6, 6, 2]);
      const labels = tf.tensor1d([0, 3], 'int32');
      const out = model.forward(x, tf.tensor1d([0.1, 0.9]), config.classes === null ? {} : { labels });
      expect(out.shape).toEqual([2, 6, 6, 2]);
      outputs.push(out.dataSync() as Float32Array);
      model.dispose();
    }
    // The same float32 sums in another order, through exponentials.
    for (const output of outputs) expect(relativeError(output, outputs[0]!)).toBeLessThan(1e-5);
  }
});
