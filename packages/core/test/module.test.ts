import '@tensorflow/tfjs-backend-cpu';
import {
  asWeightSource,
  constant,
  deriveSeed,
  type HostTensor,
  InvalidFileError,
  Module,
  normal,
  ones,
  Param,
  type StateDict,
  type StoredTensor,
  TorchGenerator,
  type WeightSource,
  WeightsMismatchError,
  zeros,
} from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

class Conv extends Module {
  readonly weight: Param;
  readonly bias: Param;
  constructor(inputs: number, outputs: number) {
    super();
    this.weight = new Param([3, 2, inputs, outputs], { init: normal(0.1), layout: 'conv2d' });
    this.bias = new Param([outputs], { init: zeros });
  }
}

class Net extends Module {
  readonly note = 'not part of the tree';
  readonly config = { width: 4 };
  readonly stem = new Conv(2, 4);
  readonly blocks = [new Conv(4, 4), new Conv(4, 3)];
  readonly heads = { first: new Conv(3, 1), 0: new Conv(3, 2) };
  readonly qkv = new Param([6, 4], { init: normal(), layout: 'conv1x1' });
  readonly proj_in = new Param([5, 6], { init: normal(), layout: 'conv1x1-2d' });
  readonly table = new Param([2, 3], { init: constant(7), trainable: false });
}

const NAMES = [
  'stem.weight',
  'stem.bias',
  'blocks.0.weight',
  'blocks.0.bias',
  'blocks.1.weight',
  'blocks.1.bias',
  'heads.0.weight',
  'heads.0.bias',
  'heads.first.weight',
  'heads.first.bias',
  'qkv',
  'proj_in',
  'table',
];

let before = 0;
beforeEach(async () => {
  await tf.setBackend('cpu');
  before = tf.memory().numTensors;
});
afterEach(() => {
  // Every test disposes its models: what is left is a leak.
  expect(tf.memory().numTensors).toBe(before);
});

function editable(state: StateDict): Record<string, HostTensor> {
  return { ...state };
}

describe('the tree', () => {
  test('is the fields in order; arrays and objects are levels, all else is skipped', () => {
    const net = new Net();
    expect([...net.params().keys()]).toEqual(NAMES);
    expect([...net.modules().keys()]).toEqual(['', 'stem', 'blocks.0', 'blocks.1', 'heads.0', 'heads.first']);
    expect(net.modules().get('')).toBe(net);
  });

  test('has no values and no tensors before init or load', () => {
    const net = new Net();
    expect([...net.params().values()].some((p) => p.hasValue)).toBe(false);
    expect(() => net.qkv.value).toThrow('call init(seed) or load(weights)');
  });

  test('a level that holds one above it is an error, not an endless walk', () => {
    class Child extends Module {
      constructor(readonly parent: Module) {
        super();
      }
    }
    class Parent extends Module {
      readonly child = new Child(this);
    }
    expect(() => new Parent().params()).toThrow('child.parent leads back to a level above it');
  });

  test('one parameter at two places is no loop', () => {
    class Tied extends Module {
      readonly a = new Param([2], { init: ones });
      readonly b = this.a;
    }
    expect([...new Tied().params().keys()]).toEqual(['a', 'b']);
  });
});

describe('init', () => {
  test('draws each parameter from its own stream, seeded by (seed, path)', async () => {
    const net = new Net().init(3);
    const drawn = new TorchGenerator(deriveSeed(3, 'blocks.1.weight')).randn(72).map((x) => x * 0.1);
    expect([...(await net.blocks[1]!.weight.value.data())]).toEqual([...drawn]);
    expect([...(await net.table.value.data())]).toEqual([7, 7, 7, 7, 7, 7]);
    net.dispose();
  });

  test('a layer that is added changes no other layer', async () => {
    class Longer extends Module {
      readonly extra = new Param([50], { init: normal() });
      readonly blocks = [new Conv(4, 4), new Conv(4, 3)];
    }
    const [net, longer] = [new Net().init(1), new Longer().init(1)];
    expect(await longer.blocks[0]!.weight.toHost()).toEqual(await net.blocks[0]!.weight.toHost());
    net.dispose();
    longer.dispose();
  });

  test('the same seed gives the same weights, another seed others, and init again keeps the variables', async () => {
    const net = new Net().init(1);
    const variable = net.qkv.variable;
    const first = await net.save();
    net.init(2);
    expect((await net.save()).qkv).not.toEqual(first.qkv);
    net.init(1);
    expect(await net.save()).toEqual(first);
    expect(net.qkv.variable).toBe(variable);
    net.dispose();
  });

  test('variables are trainable as their parameters say', () => {
    const net = new Net().init(1);
    expect([net.qkv.variable.trainable, net.table.variable.trainable]).toEqual([true, false]);
    net.dispose();
  });
});

describe('save and load', () => {
  test('save has the names, shapes and order of files: convolutions OIHW, pointwise kernels with ones', async () => {
    const net = new Net().init(0);
    const state = await net.save();
    expect(Object.keys(state)).toEqual(NAMES);
    expect(state['stem.weight']!.shape).toEqual([4, 2, 3, 2]);
    expect(state.qkv!.shape).toEqual([6, 4, 1]);
    expect(state.proj_in!.shape).toEqual([5, 6, 1, 1]);
    // Element by element: file [o, i, h, w] is memory [h, w, i, o].
    const memory = (await net.stem.weight.value.array()) as number[][][][];
    const file = state['stem.weight']!.data;
    for (let o = 0, at = 0; o < 4; o++)
      for (let i = 0; i < 2; i++)
        for (let h = 0; h < 3; h++) for (let w = 0; w < 2; w++, at++) expect(file[at]).toBe(memory[h]![w]![i]![o]);
    net.dispose();
  });

  test('load gives back what save gave, bit for bit, into a model without weights or with others', async () => {
    const net = new Net().init(0);
    const state = await net.save();
    const fresh = await new Net().load(state);
    expect(await fresh.save()).toEqual(state);
    const other = new Net().init(5);
    const variable = other.qkv.variable;
    await other.load(state);
    expect(await other.save()).toEqual(state);
    // Optimizers hold on to the variable.
    expect(other.qkv.variable).toBe(variable);
    for (const model of [net, fresh, other]) model.dispose();
  });

  test('load takes integers as numbers, and does not keep the arrays it was given', async () => {
    class One extends Module {
      readonly w = new Param([2], { init: zeros });
    }
    const data = Int32Array.of(3, -4);
    const one = await new One().load({ w: { shape: [2], data } });
    data.fill(0);
    expect([...(await one.w.value.data())]).toEqual([3, -4]);
    const saved = (await one.save()).w!.data;
    saved.fill(9);
    expect([...(await one.w.value.data())]).toEqual([3, -4]);
    one.dispose();
  });

  test('an engine that keeps no arrays gets wide ones and copies them; each is seen when it is on the device', async () => {
    const origin = new Net().init(0);
    const state = await origin.save();
    origin.dispose();
    const given: StoredTensor[] = [];
    const source: WeightSource = {
      ...asWeightSource(state),
      take: (name, keep) => {
        expect(keep).toEqual([]);
        const tensor = { ...state[name]!, dtype: 'float32' } as StoredTensor;
        given.push(tensor);
        return tensor;
      },
    };
    const seen: string[] = [];
    const net = await new Net().load(source, {
      keep: ['float16'],
      onTensor: (name, tensor, param) => {
        expect(tensor.shape).toEqual(param.shape);
        expect(given).toHaveLength(seen.length + 1);
        seen.push(name);
      },
    });
    expect(seen).toEqual([...net.params().keys()]);
    const before = await net.save();
    for (const { data } of given) data.fill(0);
    expect(await net.save()).toEqual(before);
    net.dispose();
  });

  test('reports everything that is missing, unexpected or of another shape at once, and changes nothing', async () => {
    const net = new Net().init(0);
    const original = await net.save();
    const state = editable(original);
    delete state['stem.bias'];
    delete state.table;
    state.extra = { shape: [1], data: new Float32Array(1) };
    state.qkv = { shape: [6, 4], data: new Float32Array(24) };
    state['blocks.0.weight'] = { shape: [3, 2, 4, 4], data: new Float32Array(96) };
    const error = await net.load(state).catch((e: unknown) => e);
    expect(WeightsMismatchError.isInstance(error)).toBe(true);
    expect((error as Error).message).toBe(
      [
        'Weights do not fit Net:',
        '  missing 2: stem.bias, table',
        '  unexpected 1: extra',
        '  blocks.0.weight: expected [4, 4, 3, 2], got [3, 2, 4, 4]',
        '  qkv: expected [6, 4, 1], got [6, 4]',
      ].join('\n'),
    );
    expect(await net.save()).toEqual(original);
    net.dispose();
  });

  test('shortens long lists in the message and keeps them whole in the error', () => {
    const names = Array.from({ length: 50 }, (_, i) => `p${i}`);
    const mismatched = names.map((name) => ({ name, expected: '[1]', got: '[2]' }));
    const error = new WeightsMismatchError('Net', names, [], mismatched);
    expect(error.message).toContain('missing 50: p0, p1,');
    expect(error.message).toContain('… and 30 more');
    expect(error.message).toContain('… and 30 more of another shape');
    expect(error.missing).toEqual(names);
    expect(error.facts.mismatched).toEqual(mismatched);
  });

  test.each(['first', 'last'])(
    'a read that throws at the %s tensor leaves the old values and no tensor behind',
    async (which) => {
      const net = new Net().init(0);
      const original = await net.save();
      const other = new Net().init(1);
      const state = await other.save();
      const source = failing(state, which === 'first' ? NAMES[0]! : NAMES.at(-1)!);
      await expect(net.load(source)).rejects.toThrow('disk on fire');
      expect(await net.save()).toEqual(original);
      const fresh = new Net();
      await expect(fresh.load(source)).rejects.toThrow('disk on fire');
      expect([...fresh.params().values()].some((p) => p.hasValue)).toBe(false);
      for (const model of [net, other]) model.dispose();
    },
  );

  test.each([
    ['another shape than it announced', { shape: [4, 6, 1], data: new Float32Array(24) }],
    ['fewer numbers than its shape says', { shape: [6, 4, 1], data: new Float32Array(23) }],
  ])('a source that returns %s is refused by name', async (_, lie) => {
    const net = new Net().init(0);
    const original = await net.save();
    const tensors = new Map(Object.entries(original).map(([name, t]) => [name, { shape: t.shape, dtype: 'float32' }]));
    const source: WeightSource = { name: 'w.bin', tensors, read: (name) => (name === 'qkv' ? lie : original[name]!) };
    const error = await net.load(source).catch((e: unknown) => e);
    expect(InvalidFileError.isInstance(error)).toBe(true);
    expect((error as Error).message).toMatch(/^w\.bin: qkv: /);
    expect(await net.save()).toEqual(original);
    net.dispose();
  });

  test('dispose frees everything, and the model can be used again', async () => {
    const net = new Net().init(0);
    expect(tf.memory().numTensors).toBe(before + NAMES.length);
    net.dispose();
    expect(tf.memory().numTensors).toBe(before);
    net.dispose();
    expect(() => net.qkv.value).toThrow('no value yet');
    net.init(0).dispose();
  });
});

describe('substitute', () => {
  test('stands in for the value, nests, and is undone also when the body throws', () => {
    const param = new Param([1], { init: constant(1) });
    param.initialize(new TorchGenerator(0));
    const [two, three] = [tf.tensor1d([2]), tf.tensor1d([3])];
    const seen = param.substitute(two, () => [
      param.value,
      param.substitute(three, () => param.value),
      param.value,
      param.variable,
    ]);
    expect(seen).toEqual([two, three, two, param.variable]);
    expect(() =>
      param.substitute(two, () => {
        throw new Error('stop');
      }),
    ).toThrow('stop');
    expect(param.value).toBe(param.variable);
    two.dispose();
    three.dispose();
    param.dispose();
  });
});

function failing(state: StateDict, at: string): WeightSource {
  return {
    name: 'failing',
    tensors: new Map(Object.entries(state).map(([name, t]) => [name, { shape: t.shape, dtype: 'float32' }])),
    read: async (name) => {
      if (name === at) throw new Error('disk on fire');
      return state[name]!;
    },
  };
}
