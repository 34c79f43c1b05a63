import {
  constant,
  describe as describeModel,
  Module,
  normal,
  Param,
  type StateDict,
  type StoredTensor,
  type WeightSource,
  zeros,
} from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { switchTo, testEngines } from '../src/testing.js';

/** One parameter of every layout that memory and file have in different orders. */
class Net extends Module {
  readonly filter = new Param([3, 2, 4, 5], { init: normal(0.1), layout: 'conv2d' });
  readonly pointwise = new Param([6, 4], { init: normal(), layout: 'conv1x1' });
  readonly weight = new Param([2, 3], { init: normal() });
  readonly bias = new Param([2], { init: zeros });
  readonly table = new Param([2, 3], { init: constant(7), trainable: false });
  /** `[N, 3] -> [N, 2]` */
  forward(x: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => tf.add(tf.matMul(x, this.weight.value as tf.Tensor2D, false, true), this.bias.value));
  }
}

/** A file of float32 that gives its arrays away. */
function file(state: StateDict, broken?: string): WeightSource {
  return {
    name: 'file',
    tensors: new Map(Object.entries(state).map(([name, { shape }]) => [name, { shape, dtype: 'float32' as const }])),
    read: (name) => state[name]!,
    take: (name) => {
      if (name === broken) throw new Error('disk on fire');
      const { shape, data } = state[name]!;
      return { shape, dtype: 'float32', data: Float32Array.from(data as Float32Array) } as StoredTensor;
    },
  };
}

const numbers = (state: StateDict) =>
  Object.fromEntries(Object.entries(state).map(([name, { shape, data }]) => [name, { shape, data: [...data] }]));

// What core does with tensors, which it tests on cpu alone since it cannot import an engine.
describe.each(await testEngines())('modules of core on %s', (engine) => {
  beforeAll(() => switchTo(engine));
  let before: tf.MemoryInfo;
  beforeEach(() => {
    before = tf.memory();
  });
  afterEach(() => {
    // Every test disposes what it made: what is left is a leak.
    expect(tf.memory().numTensors).toBe(before.numTensors);
    expect(tf.memory().numDataBuffers).toBe(before.numDataBuffers);
  });

  test('weights are those of the seed on every engine, and stay the same variables when drawn again', async () => {
    const model = new Net().init(7);
    const { variable } = model.weight;
    const first = await model.save();
    expect(numbers(await model.init(8).save())).not.toEqual(numbers(first));
    expect(numbers(await model.init(7).save())).toEqual(numbers(first));
    expect(model.weight.variable).toBe(variable);
    expect(tf.memory().numBytes - before.numBytes).toBe(4 * (120 + 24 + 6 + 2 + 6));
    await switchTo('cpu');
    const there = new Net().init(7);
    expect(numbers(await there.save())).toEqual(numbers(first));
    there.dispose();
    await switchTo(engine);
    model.dispose();
  });

  test.each(['a state dict', 'a file that gives its arrays away'])(
    'load gives back what save gave: %s',
    async (kind) => {
      const source = new Net().init(3);
      const state = await source.save();
      const [empty, other] = [new Net(), new Net().init(5)];
      for (const model of [empty, other]) {
        await model.load(kind === 'a state dict' ? state : file(state));
        expect(numbers(await model.save())).toEqual(numbers(state));
        const x = tf.tensor2d([[1, -2, 0.5]]);
        const [y, expected] = [model.forward(x), source.forward(x)];
        expect(y.dataSync()).toEqual(expected.dataSync());
        tf.dispose([x, y, expected]);
        model.dispose();
      }
      source.dispose();
    },
  );

  test('a load that fails on the way changes nothing', async () => {
    const model = new Net().init(5);
    const state = await model.save();
    const other = new Net().init(6);
    await expect(model.load(file(await other.save(), 'bias'))).rejects.toThrow('disk on fire');
    expect(numbers(await model.save())).toEqual(numbers(state));
    for (const one of [model, other]) one.dispose();
  });

  test('a value stands in, with its gradient', () => {
    const model = new Net().init(3);
    const [weight, x] = [tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]), tf.tensor2d([[1, 10, 100]])];
    const loss = (w: tf.Tensor) => model.weight.substitute(w, () => tf.sum(model.forward(x)));
    const slope = tf.tidy(() => tf.grad(loss)(weight));
    expect([...slope.dataSync()]).toEqual([1, 10, 100, 1, 10, 100]);
    expect(model.weight.value).toBe(model.weight.variable);
    tf.dispose([weight, x, slope]);
    model.dispose();
  });

  test('describing a model leaves the engine, its tensors and the weights as they were', async () => {
    const model = new Net().init(3);
    const state = await model.save();
    const x = tf.tensor2d([[1, 2, 3]]);
    const pending = tf.add(x, 1); // not computed yet on a lazy engine
    const memory = tf.memory();
    expect(describeModel(model, [{ shape: [4, 3] }]).macs).toBe(24);
    expect(tf.getBackend()).toBe(engine);
    expect(tf.memory()).toEqual(memory);
    expect([...pending.dataSync()]).toEqual([2, 3, 4]);
    expect(numbers(await model.save())).toEqual(numbers(state));
    tf.dispose([x, pending]);
    model.dispose();
  });

  test('disposed weights are gone, and the model can be used again', async () => {
    const model = new Net().init(3);
    const { data } = (await model.save()).weight!;
    model.dispose();
    expect(tf.memory().numBytes).toBe(before.numBytes);
    expect(() => model.weight.value).toThrow('no value yet');
    expect((await model.init(3).save()).weight!.data).toEqual(data);
    model.dispose();
  });
});
