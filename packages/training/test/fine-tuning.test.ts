import { switchTo, testEngines } from '@mezzotint/backend/testing';
import '@tensorflow/tfjs';
import { readFileSync } from 'node:fs';
import { type HostTensor, Module, normal, Param, TorchGenerator } from '@mezzotint/core';
import { Conv2d, dropout, Embedding, Linear } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  adamW,
  adaptableLayers,
  checkpointGradients,
  constantRate,
  LoraAdapter,
  loraConfig,
  loraStateDict,
  TextualInversion,
  train,
  valueAndGradients,
  withPriorPreservation,
} from '../src/index.js';

interface Stored {
  readonly shape: number[];
  readonly data: number[];
}

/** peft 0.21 on torch, float32. */
const golden = JSON.parse(readFileSync(new URL('fixtures/peft-lora.json', import.meta.url), 'utf8')) as {
  base: Record<string, Stored>;
  x: Stored;
  weight: Stored;
  cases: Record<'lora' | 'dora', { state: Record<string, Stored>; y: Stored; gradients: Record<string, Stored> }>;
};
const host = ({ shape, data }: Stored): HostTensor => ({ shape, data: Float32Array.from(data) });
const hosts = (all: Record<string, Stored>) => Object.fromEntries(Object.entries(all).map(([k, v]) => [k, host(v)]));

class Net extends Module {
  readonly conv = new Conv2d(3, 4, 3);
  readonly linear = new Linear(4, 5);
  readonly table = new Embedding(7, 4);

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.linear.forward(tf.tanh(this.conv.forward(x)) as tf.Tensor4D));
  }
}

/** A dense layer with Keras's axes, of heads. */
class KerasDense extends Module {
  readonly kernel = new Param([4, 2, 3], { init: normal(1) });
  readonly bias = new Param([2, 3], { init: normal(1) });

  forward(x: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() =>
      tf.add(tf.matMul(x, tf.reshape(this.kernel.value, [4, 6]) as tf.Tensor2D), tf.reshape(this.bias.value, [-1])),
    );
  }
}

/** A convolution of kernel 1 whose weight is a matrix in memory. */
class Pointwise extends Module {
  readonly weight = new Param([6, 4], { init: normal(1), layout: 'conv1x1' });
  readonly bias = new Param([6], { init: normal(1) });

  forward(x: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => tf.add(tf.matMul(x, this.weight.value as tf.Tensor2D, false, true), this.bias.value));
  }
}

class KerasNet extends Module {
  readonly query = new KerasDense();
  readonly point = new Pointwise();
  readonly linear = new Linear(4, 5);
}

class Holder extends Module {
  constructor(readonly linear: Linear) {
    super();
  }
}

/** A block that draws, takes tensors in objects, and has parameters. */
class Block extends Module {
  readonly fc = new Linear(4, 4);

  forward(
    x: tf.Tensor2D,
    { shift, rows, rng }: { shift: tf.Tensor; rows: tf.Tensor1D; rng?: TorchGenerator },
  ): tf.Tensor2D {
    return tf.tidy(() => {
      const h = tf.add(tf.sin(this.fc.forward(x)), tf.gather(shift, rows)) as tf.Tensor2D;
      return tf.add(x, rng === undefined ? h : dropout(h, 0.5, rng));
    });
  }
}

class Tower extends Module {
  readonly shift = new Param([3, 4], { init: normal(1) });
  readonly blocks = [new Block(), new Block(), new Block()];

  forward(x: tf.Tensor2D, rows: tf.Tensor1D, rng?: TorchGenerator): tf.Tensor2D {
    let h = x;
    for (const block of this.blocks) h = block.forward(h, { shift: this.shift.value, rows, ...(rng && { rng }) });
    return h;
  }
}

const nhwc = (stored: Stored) =>
  tf.transpose(tf.tensor4d(stored.data, stored.shape as [number, number, number, number]), [0, 2, 3, 1]);

function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < got.length; i++) expect(Math.abs(got[i]! - expected[i]!)).toBeLessThan(tolerance);
}

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test.each(['lora', 'dora'] as const)("%s: state, outputs and gradients are peft's", async (name) => {
    const { state, y, gradients } = golden.cases[name];
    const net = new Net();
    await net.load({ ...hosts(golden.base), 'table.weight': { shape: [7, 4], data: new Float32Array(28) } });
    const lora = new LoraAdapter(net, { rank: 2, alpha: 3, targets: ['conv', 'linear'], dora: name === 'dora' });
    lora.init(0);
    await lora.load(hosts(state)); // strict: the same keys and shapes
    const tensors = tf.memory().numTensors;
    const found = valueAndGradients(lora.params(), () =>
      lora.apply(() => {
        const answer = net.forward(nhwc(golden.x) as tf.Tensor4D);
        // Float32 sums of at most 27 terms of order 1.
        expectClose(answer.dataSync(), y.data, 5e-6);
        const weight = tf.tensor(golden.weight.data, golden.weight.shape);
        return tf.sum(tf.mul(weight, answer)) as tf.Scalar;
      }),
    );
    expect([...found.gradients.keys()].sort()).toEqual(Object.keys(gradients).sort());
    for (const [key, gradient] of found.gradients) {
      const param = lora.params().get(key)!;
      // Sums over 32 pixels of products of order 1.
      expectClose(param.encode(gradient.dataSync() as Float32Array).data, gradients[key]!.data, 1e-4);
    }
    tf.dispose([found.value, ...found.gradients.values()]);
    expect(tf.memory().numTensors).toBe(tensors);
    // As one model, and itself again afterwards.
    const merged = await lora.withMergedWeights(() => net.forward(nhwc(golden.x) as tf.Tensor4D).dataSync());
    expectClose(merged, y.data, 5e-6);
    expect((await net.save())['conv.weight']).toEqual(host(golden.base['conv.weight']!));
  });

  test("layers with Keras's axes and pointwise convolutions are changed as linear layers with the same numbers are", async () => {
    const keras = new KerasNet().init(1);
    expect(adaptableLayers(keras)).toEqual(['query', 'point', 'linear']);
    const x = tf.tensor2d(new TorchGenerator(3).randn(8), [2, 4]);
    for (const dora of [false, true]) {
      const lora = new LoraAdapter(keras, { rank: 2, dora }).init(2);
      const state = Object.fromEntries(
        Object.entries(await lora.save()).map(([key, { shape, data }]) => [
          key,
          { shape, data: Float32Array.from(data, (value, i) => value + 0.1 * ((i % 3) - 1)) },
        ]),
      );
      await lora.load(state);
      const part = (name: string, layer: string) => state[`base_model.model.${layer}.${name}`]!;
      for (const layer of ['query', 'point']) {
        const bare = new Linear(4, 6).init(1);
        const own = await keras.save();
        const weight =
          layer === 'point'
            ? { shape: [6, 4], data: own['point.weight']!.data }
            : {
                shape: [6, 4],
                data: own['query.kernel']!.data.map((_, i, all) => all[(i % 4) * 6 + Math.floor(i / 4)]!),
              };
        await bare.load({ weight, bias: { shape: [6], data: own[`${layer}.bias`]!.data } });
        const model = new Holder(bare);
        const plain = new LoraAdapter(model, { rank: 2, dora }).init(2);
        const flat = ({ data }: HostTensor, shape: number[]) => ({ shape, data });
        await plain.load({
          'base_model.model.linear.lora_A.weight': flat(part('lora_A.weight', layer), [2, 4]),
          'base_model.model.linear.lora_B.weight': flat(part('lora_B.weight', layer), [6, 2]),
          ...(dora && {
            'base_model.model.linear.lora_magnitude_vector': flat(part('lora_magnitude_vector', layer), [6]),
          }),
        });
        const expected = plain.apply(() => bare.forward(x).dataSync());
        const got = lora.apply(() => (layer === 'query' ? keras.query : keras.point).forward(x).dataSync());
        expectClose(got, expected, 1e-5); // sums of 4 terms of order 1
        expect(expected).not.toEqual(bare.forward(x).dataSync());
      }
    }
  });

  test('an adapter begins as nothing, learns, and leaves the model as it was', async () => {
    const net = new Net().init(1);
    const lora = new LoraAdapter(net, { rank: 2, dora: true }).init(2);
    expect([...lora.layers.keys()]).toEqual(['conv', 'linear']); // not the table
    const x = tf.tensor4d(new TorchGenerator(3).randn(48), [1, 4, 4, 3]);
    const before = net.forward(x).dataSync();
    expectClose(
      lora.apply(() => net.forward(x).dataSync()),
      before,
      1e-6,
    );
    const weights = await net.save();
    const losses: number[] = [];
    const steps = train({
      loss: () => lora.apply(() => tf.mean(tf.square(tf.sub(net.forward(x), 0.3))) as tf.Scalar),
      data: { next: async () => null },
      rng: new TorchGenerator(0),
      optimizer: adamW(lora, { weightDecay: 0 }),
      learningRate: constantRate(0.02),
      until: 40,
    });
    for await (const { loss } of steps) losses.push(loss);
    expect(losses.at(-1)!).toBeLessThan(0.5 * losses[0]!);
    expect(await net.save()).toEqual(weights);
  });

  test('gradient checkpointing gives the same gradients and keeps less', () => {
    const tower = new Tower().init(1);
    const params = tower.params();
    const run = () => {
      const x = tf.tensor2d(new TorchGenerator(2).randn(20), [5, 4]);
      const rows = tf.tensor1d([0, 1, 2, 1, 0], 'int32');
      let kept = 0;
      const found = valueAndGradients(params, () => {
        const y = tower.forward(x, rows, new TorchGenerator(4));
        kept = tf.memory().numTensors;
        return tf.sum(tf.square(y)) as tf.Scalar;
      });
      const numbers = [...found.gradients].map(([path, g]) => [path, Array.from(g.dataSync())] as const);
      tf.dispose([found.value, ...found.gradients.values(), x, rows]);
      return { kept, numbers };
    };
    const plain = run();
    const tensors = tf.memory().numTensors;
    const undo = checkpointGradients(tower, ['blocks.*']);
    const less = run();
    expect(tf.memory().numTensors).toBe(tensors);
    undo();
    expect(less.numbers.map(([path]) => path)).toEqual(plain.numbers.map(([path]) => path));
    // The same operations in the same order.
    less.numbers.forEach(([, numbers], i) => {
      expectClose(numbers, plain.numbers[i]![1], 1e-5);
    });
    expect(run().numbers).toEqual(plain.numbers);
    expect(() => checkpointGradients(tower, ['blocks.*', 'blocks.0.fc'])).toThrow(/'blocks.0.fc' is inside 'blocks.0'/);
    expect(() => checkpointGradients(tower, ['layers.*'])).toThrow(/'layers.\*' fits no module/);
  });

  test('recomputed blocks give gradients of the trained parameters alone', () => {
    const tower = new Tower().init(1);
    const trained = new Map([...tower.params()].filter(([path]) => path.endsWith('weight')));
    const run = () => {
      const found = valueAndGradients(trained, () => {
        const x = tf.tensor2d(new TorchGenerator(2).randn(20), [5, 4]);
        return tf.sum(tf.square(tower.forward(x, tf.tensor1d([0, 1, 2, 1, 0], 'int32')))) as tf.Scalar;
      });
      return [...found.gradients].map(([path, g]) => [path, Array.from(g.dataSync())] as const);
    };
    const plain = run();
    const undo = checkpointGradients(tower, ['blocks.*'], { trained: new Set(trained.values()) });
    run().forEach(([path, numbers], i) => {
      expect(path).toBe(plain[i]![0]);
      expectClose(numbers, plain[i]![1], 1e-5);
    });
    undo();
    // Of the others there is none: a loss that asks for theirs finds no way to them.
    const biases = new Map([...tower.params()].filter(([path]) => path.endsWith('bias')));
    checkpointGradients(tower, ['blocks.*'], { trained: new Set(trained.values()) });
    const ask = () =>
      valueAndGradients(biases, () => {
        const x = tf.tensor2d(new TorchGenerator(2).randn(20), [5, 4]);
        return tf.sum(tower.forward(x, tf.tensor1d([0, 1, 2, 1, 0], 'int32'))) as tf.Scalar;
      });
    expect(ask).toThrow(/does not depend on any trainable parameter/);
  });

  test('a LoRA of blocks that are recomputed has the gradients of one of blocks that are not', () => {
    const tower = new Tower().init(1);
    const lora = new LoraAdapter(tower, { rank: 1 }).init(3);
    for (const layer of lora.layers.values()) layer.lora_B.weight.initialize(new TorchGenerator(1));
    for (const [i, layer] of [...lora.layers.values()].entries()) {
      layer.lora_B.weight.variable.assign(tf.fill([4, 1], 0.2 + 0.1 * i));
    }
    const run = () => {
      const x = tf.tensor2d(new TorchGenerator(2).randn(20), [5, 4]);
      const rows = tf.tensor1d([0, 1, 2, 1, 0], 'int32');
      const found = valueAndGradients(lora.params(), () =>
        lora.apply(() => tf.sum(tf.square(tower.forward(x, rows))) as tf.Scalar),
      );
      return [...found.gradients.values()].map((g) => Array.from(g.dataSync()));
    };
    const plain = run();
    checkpointGradients(tower, ['blocks.*']);
    run().forEach((numbers, i) => {
      expectClose(numbers, plain[i]!, 1e-5);
    });
  });
});

describe.each(await testEngines())('textual inversion on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('new tokens have vectors of their own, which alone get gradients; the table stays as it was', async () => {
    const table = new Embedding(7, 4).init(1);
    const inversion = new TextualInversion(table, 2);
    expect(inversion.ids).toEqual([7, 8]);
    inversion.start([3]);
    const ids = tf.tensor2d([0, 7, 3, 8, 6, 7], [2, 3], 'int32');
    const rows = await table.weight.toHost();
    const row = (i: number) => Array.from(rows.data.slice(4 * i, 4 * i + 4));
    // Both begin as row 3; sums with exact zeros are exact.
    const looked = inversion.apply(() => table.forward(ids).dataSync());
    expect(Array.from(looked)).toEqual([0, 3, 3, 3, 6, 3].flatMap(row));
    const tensors = tf.memory().numTensors;
    const { value, gradients } = valueAndGradients(inversion.params(), () =>
      inversion.apply(() => tf.sum(tf.mul(table.forward(ids), tf.reshape(tf.range(1, 7), [2, 3, 1]))) as tf.Scalar),
    );
    // Token 7 stands at places 2 and 6, token 8 at place 4.
    expect(Array.from(gradients.get('vectors')!.dataSync())).toEqual([8, 8, 8, 8, 4, 4, 4, 4]);
    tf.dispose([value, ...gradients.values()]);
    expect(tf.memory().numTensors).toBe(tensors);
    expect(await table.weight.toHost()).toEqual(rows);
    expect('forward' in Object.getOwnPropertyDescriptors(table)).toBe(false);
  });

  test('prior preservation adds the mean loss of the second half by its weight', () => {
    const losses = tf.tensor1d([1, 3, 10, 20]);
    expect(withPriorPreservation(losses, 0.5).dataSync()[0]).toBe(2 + 0.5 * 15);
    expect(() => withPriorPreservation(tf.tensor1d([1, 2, 3]), -1)).toThrow(
      /3 losses in all[\s\S]*weight must be at least 0/,
    );
  });
});

test('embeddings are saved as diffusers and the web UI have them; wrong starts are refused', async () => {
  const table = new Embedding(5, 3).init(1);
  const one = new TextualInversion(table);
  one.start([2]);
  const row = (await table.weight.toHost()).data.slice(6, 9);
  expect(await one.stateDictFor('diffusers', '<cat>')).toEqual({ '<cat>': { shape: [3], data: row } });
  const two = new TextualInversion(table, 2);
  two.start([2, 2]);
  expect((await two.stateDictFor('diffusers', '<cat>'))['<cat>']!.shape).toEqual([2, 3]);
  expect((await two.stateDictFor('a1111', '<cat>')).emb_params!.shape).toEqual([2, 3]);
  expect(() => two.start([1, 2, 9])).toThrow(/expected 1 or 2 ids, got 3[\s\S]*expected ids in \[0, 5\), got 9/);
  expect(() => new TextualInversion(table, 0)).toThrow(/count must be a positive integer/);
});

test('files are named and scaled as each tool expects, and a fused layer is split by its rows', async () => {
  const net = new Net().init(1);
  const lora = new LoraAdapter(net, { rank: 2, alpha: 1, targets: ['linear'] }).init(2);
  lora.layers.get('linear')!.lora_B.weight.variable.assign(tf.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [5, 2]));
  const rename = (path: string) => [
    { path: `${path}.to_q`, rows: 2 },
    { path: `${path}.to_k`, rows: 3 },
  ];
  const peft = await loraStateDict(lora, { layout: 'peft' });
  expect(Object.keys(peft)).toEqual(['base_model.model.linear.lora_A.weight', 'base_model.model.linear.lora_B.weight']);
  expect(loraConfig(lora)).toMatchObject({ r: 2, lora_alpha: 1, target_modules: ['linear'] });
  const diffusers = await loraStateDict(lora, { layout: 'diffusers', model: 'transformer', rename });
  expect(diffusers['transformer.linear.to_k.lora_B.weight']).toEqual({
    shape: [3, 2],
    data: Float32Array.of(2.5, 3, 3.5, 4, 4.5, 5), // times alpha / rank
  });
  const kohya = await loraStateDict(lora, { layout: 'kohya', model: 'text_encoder' });
  expect(kohya['lora_te_linear.alpha']!.data[0]).toBe(1);
  expect(kohya['lora_te_linear.lora_up.weight']!.shape).toEqual([5, 2]);
});

test('targets and numbers that cannot be are refused together', () => {
  expect(() => new LoraAdapter(new Net(), { rank: 0, alpha: -1, targets: ['attn*'] })).toThrow(
    /rank must be.*got 0\n.*alpha.*got -1\n.*'attn\*' fits no linear or convolution layer; there are 2: conv, linear/s,
  );
});
