import '@tensorflow/tfjs-backend-cpu';
import {
  describe as cost,
  type InputArgument,
  MezzotintError,
  Module,
  normal,
  ones,
  Param,
  zeros,
} from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeEach, describe, expect, test, vi } from 'vitest';

class Dense extends Module {
  readonly weight: Param;
  readonly bias: Param;
  constructor(inputs: number, outputs: number) {
    super();
    this.weight = new Param([outputs, inputs], { init: normal() });
    this.bias = new Param([outputs], { init: zeros, trainable: false });
  }
  forward(x: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => tf.add(tf.matMul(x, this.weight.value as tf.Tensor2D, false, true), this.bias.value));
  }
}

class Mlp extends Module {
  readonly fc1 = new Dense(3, 5);
  readonly unused = new Dense(100, 100);
  readonly fc2 = new Dense(5, 2);
  forward(x: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => this.fc2.forward(tf.relu(this.fc1.forward(x))));
  }
}

/** A module that is whatever a test wants to run. */
class Probe extends Module {
  constructor(readonly forward: (...inputs: never[]) => unknown) {
    super();
  }
}

function macs(forward: (...inputs: never[]) => unknown, ...inputs: InputArgument[]): number {
  return cost(new Probe(forward), inputs).macs;
}

beforeEach(async () => {
  await tf.setBackend('cpu');
});

describe('counts by hand', () => {
  test('parameters and multiply-adds, in all and by module', () => {
    const { modules, ...total } = cost(new Mlp(), [{ shape: [4, 3] }]);
    // Rows x in x out: 4 * 3 * 5 and 4 * 5 * 2. Biases and relu are not counted.
    expect(total).toEqual({
      parameters: 20 + 10100 + 12,
      trainable: 15 + 10000 + 10,
      macs: 100,
      flops: 200,
      // What EDM2 counts beside: the biases' 4 * 5 + 4 * 2 additions and relu's 4 * 5.
      edm2Flops: 148,
    });
    expect(modules).toEqual([
      { path: '', type: 'Mlp', parameters: 10132, macs: 100, output: [4, 2] },
      { path: 'fc1', type: 'Dense', parameters: 20, macs: 60, output: [4, 5] },
      { path: 'unused', type: 'Dense', parameters: 10100, macs: 0, output: undefined },
      { path: 'fc2', type: 'Dense', parameters: 12, macs: 40, output: [4, 2] },
    ]);
  });

  test('a convolution costs its kernel for each output element', () => {
    const conv = (x: tf.Tensor4D) => tf.conv2d(x, tf.zeros([3, 3, 8, 16]) as tf.Tensor4D, 2, 1);
    expect(macs(conv as never, { shape: [2, 10, 6, 8] })).toBe(2 * 5 * 3 * 16 * 9 * 8);
    const same = (x: tf.Tensor4D) => tf.conv2d(x, tf.zeros([1, 1, 8, 4]) as tf.Tensor4D, 1, 'same');
    expect(macs(same as never, { shape: [1, 7, 7, 8] })).toBe(49 * 4 * 8);
  });

  test('a transposed convolution costs its kernel for each input element', () => {
    const up = (x: tf.Tensor4D) =>
      tf.conv2dTranspose(x, tf.zeros([4, 4, 3, 8]) as tf.Tensor4D, [2, 10, 12, 3], 2, 'same');
    expect(macs(up as never, { shape: [2, 5, 6, 8] })).toBe(2 * 5 * 6 * 8 * 16 * 3);
  });

  test('a depthwise convolution costs one plane of the kernel for each output element', () => {
    const f = (x: tf.Tensor4D) => tf.depthwiseConv2d(x, tf.zeros([3, 3, 8, 2]) as tf.Tensor4D, 1, 'same');
    expect(macs(f as never, { shape: [1, 4, 4, 8] })).toBe(16 * 16 * 9);
  });

  test('a 3-d convolution', () => {
    const f = (x: tf.Tensor5D) => tf.conv3d(x, tf.zeros([3, 1, 1, 4, 5]) as tf.Tensor5D, 1, 'same');
    expect(macs(f as never, { shape: [1, 4, 2, 2, 4] })).toBe(16 * 5 * 3 * 4);
  });

  test('attention: N h T S d for each of its two matrix products, whatever is transposed', () => {
    const attention = (q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D) =>
      tf.matMul(tf.softmax(tf.matMul(q, k, false, true)), v);
    const shape = (t: number) => ({ shape: [2, 3, t, 8] });
    expect(macs(attention as never, shape(5), shape(7), shape(7))).toBe(2 * (2 * 3 * 5 * 7 * 8));
    const transposed = (a: tf.Tensor3D, b: tf.Tensor3D) => tf.matMul(a, b, true, false);
    expect(macs(transposed as never, { shape: [2, 9, 4] }, { shape: [2, 9, 5] })).toBe(2 * 4 * 5 * 9);
  });

  test('fused ops count as their parts', () => {
    const conv = (x: tf.Tensor4D) =>
      tf.fused.conv2d({
        x,
        filter: tf.zeros([3, 3, 2, 4]) as tf.Tensor4D,
        strides: 1,
        pad: 'same',
        bias: tf.zeros([4]),
        activation: 'relu',
      });
    expect(macs(conv as never, { shape: [1, 5, 5, 2] })).toBe(25 * 4 * 18);
    const dense = (a: tf.Tensor2D) => tf.fused.matMul({ a, b: tf.zeros([6, 7]) as tf.Tensor2D, activation: 'relu' });
    expect(macs(dense as never, { shape: [3, 6] })).toBe(3 * 6 * 7);
    const wide = (x: tf.Tensor4D) =>
      tf.fused.depthwiseConv2d({
        x,
        filter: tf.zeros([3, 3, 2, 1]) as tf.Tensor4D,
        strides: 1,
        pad: 'same',
        activation: 'relu',
      });
    expect(macs(wide as never, { shape: [1, 5, 5, 2] })).toBe(50 * 9);
  });

  test('element-wise work, norms and resizing are free', () => {
    const f = (x: tf.Tensor4D) => {
      const { mean, variance } = tf.moments(x, [1, 2], true);
      const normal: tf.Tensor4D = tf.div(tf.sub(x, mean), tf.sqrt(variance));
      return tf.image.resizeBilinear(tf.mul<tf.Tensor4D>(normal, tf.sigmoid(x)), [8, 8]);
    };
    expect(macs(f as never, { shape: [1, 4, 4, 3] })).toBe(0);
  });

  test('a module that runs twice counts twice, one at two places is one set of parameters', () => {
    class Twice extends Module {
      readonly a = new Dense(4, 4);
      readonly b = this.a;
      forward(x: tf.Tensor2D): tf.Tensor2D {
        return tf.tidy(() => this.b.forward(this.a.forward(x)));
      }
    }
    const { parameters, macs, modules } = cost(new Twice(), [{ shape: [1, 4] }]);
    expect({ parameters, macs }).toEqual({ parameters: 20, macs: 32 });
    expect(modules.map((m) => [m.path, m.macs])).toEqual([
      ['', 32],
      ['a', 32],
      ['b', 32],
    ]);
  });
});

describe('inputs', () => {
  test('a model that runs the parts of a child counts them for the child', () => {
    class Outer extends Module {
      readonly child = new Mlp();
      forward(x: tf.Tensor2D): tf.Tensor2D {
        return tf.tidy(() => this.child.fc2.forward(this.child.fc1.forward(x)));
      }
    }
    const { modules } = cost(new Outer(), [{ shape: [4, 3] }]);
    const child = modules.find(({ path }) => path === 'child');
    expect([child?.macs, child?.output]).toEqual([100, undefined]);
  });

  test('shapes with types, objects of shapes, and what is left out', () => {
    const seen: unknown[] = [];
    const forward = (x: tf.Tensor, missing: undefined, more: { labels: tf.Tensor; lowRes: tf.Tensor }) => {
      seen.push(x.shape, x.dtype, missing, more.labels.dtype, more.labels.shape, more.lowRes.dtype, Object.keys(more));
    };
    cost(new Probe(forward as never), [
      { shape: [1, 2] },
      undefined,
      { labels: { shape: [1], dtype: 'int32' }, lowRes: { shape: [] } },
    ]);
    expect(seen).toEqual([[1, 2], 'float32', undefined, 'int32', [1], 'float32', ['labels', 'lowRes']]);
  });

  test('another function of the model than forward', () => {
    class Coder extends Module {
      readonly decoder = new Dense(2, 3);
      decode(z: tf.Tensor2D): tf.Tensor2D {
        return this.decoder.forward(z);
      }
    }
    expect(() => cost(new Coder(), [{ shape: [1, 2] }])).toThrow('Coder has no forward');
    expect(cost(new Coder(), [{ shape: [1, 2] }], (coder, [z]) => coder.decode(z!)).macs).toBe(6);
  });
});

describe('leaves everything as it was', () => {
  test('a model of a trillion parameters is described without memory', () => {
    const model = new Dense(2 ** 20, 2 ** 20);
    const before = tf.memory();
    expect(cost(model, [{ shape: [2 ** 20, 2 ** 20] }]).macs).toBe(2 ** 60);
    expect(tf.memory()).toEqual(before);
    expect(model.weight.hasValue).toBe(false);
  });

  test('a model with weights keeps them, and its own forward', async () => {
    const model = new Dense(2, 2).init(0);
    const { weight, bias } = await model.save();
    const before = tf.memory();
    expect(cost(model, [{ shape: [1, 2] }]).macs).toBe(4);
    expect(tf.memory()).toEqual(before);
    expect(await model.save()).toEqual({ weight, bias });
    expect(Object.keys(model)).toEqual(['weight', 'bias']);
    expect(Object.hasOwn(model, 'forward')).toBe(false);
    expect(tf.getBackend()).toBe('cpu');
    const x = tf.ones([1, 2]) as tf.Tensor2D;
    const y = model.forward(x);
    expect((await y.data())[0]).toBeCloseTo(weight!.data[0]! + weight!.data[1]!, 6);
    tf.dispose([x, y]);
    model.dispose();
  });

  test('also when forward throws', () => {
    class Broken extends Mlp {
      override forward(x: tf.Tensor2D): tf.Tensor2D {
        this.fc1.forward(x);
        throw new RangeError('broken');
      }
    }
    const model = new Broken();
    const before = tf.memory();
    expect(() => cost(model, [{ shape: [1, 3] }])).toThrow(RangeError);
    expect(tf.memory()).toEqual(before);
    expect(tf.getBackend()).toBe('cpu');
    expect(Object.hasOwn(model.fc1, 'forward')).toBe(false);
    expect(() => model.fc1.weight.value).toThrow('no value yet');
    expect(tf.engine().registryFactory).not.toHaveProperty('mezzotint-shape');
    expect(tf.getKernelsForBackend('mezzotint-shape')).toEqual([]);
  });

  test('says nothing on the console, also the second time', () => {
    const spies = (['log', 'warn', 'error', 'info'] as const).map((name) => vi.spyOn(console, name));
    cost(new Mlp(), [{ shape: [1, 3] }]);
    cost(new Mlp(), [{ shape: [1, 3] }]);
    for (const spy of spies) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
  });

  test('a backend that is still being prepared goes on being prepared', async () => {
    let ready: () => void = () => {};
    const cpu = tf.findBackend('cpu');
    tf.registerBackend('slow', () => new Promise<tf.KernelBackend>((resolve) => (ready = () => resolve(cpu))), 0);
    const pending = tf.setBackend('slow');
    expect(cost(new Mlp(), [{ shape: [1, 3] }]).macs).toBe(25);
    ready();
    expect(await pending).toBe(true);
    expect(tf.getBackend()).toBe('slow');
    await tf.setBackend('cpu');
    tf.removeBackend('slow');
  });
});

describe('what cannot be described', () => {
  test('an op without a rule is named', () => {
    const f = (x: tf.Tensor2D) => tf.einsum('ij,jk->ik', x, x);
    const error = (() => {
      try {
        return macs(f as never, { shape: [2, 2] });
      } catch (e) {
        return e;
      }
    })();
    expect(MezzotintError.isInstance(error) && error.code).toBe('MEZZOTINT_NO_SHAPE_KERNEL');
    expect((error as Error).message).toContain('the op Einsum has no shape rule');
  });

  test('a forward that reads numbers', () => {
    expect(() => macs(((x: tf.Tensor) => x.dataSync()) as never, { shape: [2] })).toThrow('reads the numbers');
  });

  test('a forward that keeps a tensor: it would meet the next real forward', () => {
    expect(() => macs(((x: tf.Tensor) => tf.keep(tf.neg(x))) as never, { shape: [2] })).toThrow('keeps 1 tensor');
  });

  test('shapes that do not fit', () => {
    expect(() => cost(new Mlp(), [{ shape: [1, 4] }])).toThrow(/inner|shapes/i);
  });
});

describe('each shape rule says what the cpu backend does', () => {
  const x4 = () => tf.ones([2, 4, 6, 8]) as tf.Tensor4D;
  const x2 = () => tf.ones([3, 4]) as tf.Tensor2D;
  const ids = () => tf.tensor1d([0, 2, 1, 1], 'int32');
  const ops: Record<string, () => tf.TensorContainer> = {
    'binary with broadcasting': () => [tf.add(x4(), tf.ones([6, 1])), tf.mul(tf.ones([3, 1]), tf.ones([4]))],
    'binary of integers': () => [tf.add(ids(), ids()), tf.mul(ids(), tf.scalar(2.5)), tf.maximum(ids(), ids())],
    'more binary': () => [
      tf.pow(x2(), x2()),
      tf.squaredDifference(x2(), x2()),
      tf.mod(x2(), x2()),
      tf.floorDiv(x2(), x2()),
    ],
    addN: () => tf.addN([x2(), x2(), x2()]),
    compare: () => [
      tf.greater(x2(), tf.scalar(1)),
      tf.equal(ids(), ids()),
      tf.logicalAnd(tf.less(x2(), 1), tf.less(x2(), 2)),
    ],
    unary: () => [tf.erf(x2()), tf.relu(x2()), tf.softplus(x2()), tf.clipByValue(x2(), 0, 1)],
    tests: () => [tf.isNaN(x2()), tf.logicalNot(tf.less(x2(), 1))],
    reductions: () => [tf.sum(x4(), [1, 2]), tf.max(x4(), -1, true), tf.prod(x2()), tf.min(x4(), 0), tf.sum(ids())],
    means: () => [tf.mean(x4(), [1, 2], true), tf.mean(ids()), tf.moments(x4(), [3]).variance],
    'any and all': () => [tf.any(tf.less(x2(), 1), 0), tf.all(tf.less(x2(), 1))],
    'arg max': () => [tf.argMax(x4(), -1), tf.argMin(x4(), 0)],
    softmax: () => [tf.softmax(x4()), tf.logSoftmax(x2()), tf.logSumExp(x4(), -1)],
    reshape: () => [
      tf.reshape(x4(), [2, -1, 8]),
      tf.squeeze(tf.ones([1, 3, 1])),
      tf.expandDims(x2(), -1),
      tf.expandDims(x2(), 1),
    ],
    transpose: () => [tf.transpose(x4(), [0, 3, 1, 2]), tf.transpose(x2())],
    concat: () => [tf.concat([x4(), tf.ones([2, 4, 6, 1]) as tf.Tensor4D], -1), tf.concat([x2(), x2()], 0)],
    stack: () => [tf.stack([x2(), x2()], -1), tf.stack([x2(), x2()], 1), tf.unstack(x2(), 1)],
    split: () => [tf.split(x4(), 2, -1), tf.split(x4(), [1, 2, 5], 3), tf.split(x4(), [2, -1], 1)],
    slice: () => [tf.slice(x4(), [0, 1, 2, 3], [2, 2, -1, 4]), tf.slice(x2(), 1)],
    'strided slice': () => [
      tf.stridedSlice(x4(), [0, 0, 0, 0], [2, 4, 6, 8], [1, 2, 2, 3]),
      tf.stridedSlice(x2(), [0, 3], [3, 0], [1, -1]),
      tf.stridedSlice(x2(), [1, 0], [2, 4], [1, 1], 0, 0, 0, 0, 1),
    ],
    gather: () => [
      tf.gather(x4(), ids(), 2),
      tf.gather(x2(), tf.tensor2d([[0, 1, 2]], [1, 3], 'int32')),
      tf.gather(tf.ones([2, 5, 3]), tf.zeros([2, 4], 'int32'), 1, 1),
      tf.gatherND(x4(), tf.zeros([7, 2], 'int32')),
    ],
    pad: () => [
      tf.pad(x4(), [
        [0, 0],
        [1, 2],
        [0, 3],
        [0, 0],
      ]),
      tf.mirrorPad(
        x2(),
        [
          [1, 1],
          [2, 0],
        ],
        'reflect',
      ),
    ],
    resize: () => [tf.image.resizeBilinear(x4(), [3, 5]), tf.image.resizeNearestNeighbor(x4(), [8, 12])],
    pool: () => [tf.avgPool(x4(), 2, 2, 'valid'), tf.maxPool(x4(), 3, 2, 'same'), tf.avgPool(x4(), 2, 2, 'same')],
    convolutions: () => [
      tf.conv2d(x4(), tf.ones([3, 3, 8, 5]) as tf.Tensor4D, 2, 1),
      tf.conv2d(x4(), tf.ones([3, 3, 8, 5]) as tf.Tensor4D, 1, [
        [0, 0],
        [0, 1],
        [1, 2],
        [0, 0],
      ]),
      tf.conv2d(x4(), tf.ones([3, 3, 8, 5]) as tf.Tensor4D, 1, 'same', 'NHWC', 2),
      tf.conv1d(tf.ones([2, 9, 4]) as tf.Tensor3D, tf.ones([3, 4, 6]) as tf.Tensor3D, 1, 'same'),
      tf.depthwiseConv2d(x4(), tf.ones([3, 3, 8, 2]) as tf.Tensor4D, 1, 'valid'),
      tf.conv2dTranspose(x4(), tf.ones([3, 3, 5, 8]) as tf.Tensor4D, [2, 8, 12, 5], 2, 'same'),
      tf.conv3d(tf.ones([1, 4, 4, 4, 2]) as tf.Tensor5D, tf.ones([3, 3, 3, 2, 3]) as tf.Tensor5D, 2, 'same'),
    ],
    matMul: () => [
      tf.matMul(x2(), x2(), true, false),
      tf.matMul(tf.ones([2, 1, 3, 4]), tf.ones([5, 4, 6])),
      tf.dot(x2(), tf.ones([4])),
    ],
    'space and depth': () => [tf.depthToSpace(x4(), 2, 'NHWC')],
    fill: () => [
      tf.fill([2, 3], 4),
      tf.fill([2], 1, 'int32'),
      tf.zerosLike(ids()),
      tf.onesLike(x2()),
      tf.linspace(0, 1, 5),
    ],
    range: () => [tf.range(0, 10, 3), tf.range(5, 0, -2, 'int32')],
    'broadcast and tile': () => [tf.broadcastTo(tf.ones([4, 1]), [2, 4, 3]), tf.tile(x2(), [2, 3])],
    'one hot': () => [tf.oneHot(ids(), 5), tf.oneHot(tf.zeros([2, 3], 'int32'), 4)],
    cast: () => [tf.cast(x2(), 'int32'), tf.cast(ids(), 'float32'), tf.cast(x2(), 'bool')],
    select: () => [tf.where(tf.less(x2(), 1), x2(), x2()), tf.prelu(x2(), tf.ones([3, 4]) as tf.Tensor2D)],
    order: () => [tf.topk(x2(), 2).values, tf.topk(x2(), 2).indices, tf.reverse(x2(), 1), tf.cumsum(x2(), 1)],
    scatter: () => [
      tf.unsortedSegmentSum(x2(), tf.tensor1d([0, 1, 1], 'int32'), 5),
      tf.scatterND(tf.tensor2d([[0], [2]], [2, 1], 'int32'), tf.ones([2, 3]), [4, 3]),
    ],
    clone: () => [tf.clone(x2()), tf.clone(ids())],
  };

  const seen = (value: tf.TensorContainer) =>
    (value as tf.Tensor[]).flat(2).map((t) => ({ shape: t.shape, dtype: t.dtype }));

  test.each(Object.entries(ops))('%s', (_, run) => {
    const list = () => {
      const value = run();
      return seen(Array.isArray(value) ? value : [value]);
    };
    const real = tf.tidy(() => ({ infos: list() }) as never) as { infos: unknown };
    let inferred: unknown;
    cost(
      new Probe(() => {
        inferred = list();
      }),
      [],
    );
    expect(inferred).toEqual(real.infos);
  });
});

test('parameters without forward cost: ones and zeros', () => {
  class Scale extends Module {
    readonly weight = new Param([7], { init: ones });
    forward(x: tf.Tensor): tf.Tensor {
      return tf.mul(x, this.weight.value);
    }
  }
  expect(cost(new Scale(), [{ shape: [2, 7] }])).toMatchObject({ parameters: 7, macs: 0 });
});
