import type { OnnxRuntimeBackend } from '@mezzotint/backend-onnxruntime';
import { stepBoundary } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { normals } from './against-cpu.js';

beforeAll(async () => {
  await tf.setBackend('onnxruntime');
});

const statistics = () => (tf.backend() as OnnxRuntimeBackend).statistics();

describe('arrays', () => {
  test('an uploaded array is copied: changing it later changes no result that is still pending', () => {
    const batch = new Float32Array([1, 2, 3]);
    const y = tf.mul(tf.tensor1d(batch), 2);
    batch.fill(100);
    expect([...y.dataSync()]).toEqual([2, 4, 6]);
  });

  test('an array that was read belongs to the reader: no later result is written into it', () => {
    const y = tf.exp(tf.tensor1d([0, 0, 0, 0, 0]));
    const read = y.dataSync();
    y.dispose();
    for (let i = 0; i < 5; i++) tf.tidy(() => tf.add(tf.tensor1d([9, 9, 9, 9, i]), 1).dataSync());
    expect([...read]).toEqual([1, 1, 1, 1, 1]);
  });

  test('writing into an array that was read changes no tensor: not its own, not an alias, not a constant', async () => {
    const x = tf.tensor1d([1, 2, 3]);
    const alias = tf.reshape(x, [3, 1]);
    const computed = tf.add(x, 1);
    const ones = tf.ones([3]);
    for (const tensor of [x, alias, computed, ones]) {
      tensor.dataSync().fill(99);
      (await tensor.data()).fill(99);
    }
    const now = [x, alias, computed, ones].map((tensor) => [...tensor.dataSync()]);
    expect(now).toEqual([
      [1, 2, 3],
      [1, 2, 3],
      [2, 3, 4],
      [1, 1, 1],
    ]);
  });

  test('a pending result outlives its disposed inputs', () => {
    const x = tf.tensor1d([1, 4, 9]);
    const y = tf.sqrt(x);
    x.dispose();
    tf.tidy(() => tf.tensor1d([7, 7, 7]).dataSync()); // would take the freed memory
    expect([...y.dataSync()]).toEqual([1, 2, 3]);
  });
});

describe('variables', () => {
  test('assign takes effect for what is asked later, not for what was asked before', () => {
    const v = tf.variable(tf.tensor1d([1, 2]));
    const before = tf.mul(v, 10);
    v.assign(tf.tensor1d([5, 6]));
    const after = tf.mul(v, 10);
    expect([...before.dataSync()]).toEqual([10, 20]);
    expect([...after.dataSync()]).toEqual([50, 60]);
    v.dispose();
  });

  test('gradient descent written with lazy updates goes the way of arithmetic', () => {
    const w = tf.variable(tf.scalar(1));
    let expected = 1;
    for (let i = 0; i < 20; i++) {
      const { grads } = tf.variableGrads(() => tf.square(tf.sub(tf.mul(w, 3), 2)) as tf.Scalar, [w]);
      tf.tidy(() => w.assign(tf.sub(w, tf.mul(grads[w.name]!, 0.02))));
      tf.dispose(grads);
      expected -= 0.02 * 6 * (3 * expected - 2);
    }
    expect(w.dataSync()[0]).toBeCloseTo(expected, 5);
    w.dispose();
  });

  test('a filter keeps its values while it is kept in another order', () => {
    const w = tf.variable(normals([3, 3, 16, 32]));
    const values = w.dataSync().slice();
    const x = normals([1, 8, 8, 16]) as tf.Tensor4D;
    tf.tidy(() => tf.conv2d(x, tf.add(w, 0) as tf.Tensor4D, 1, 'same').dataSync());
    tf.tidy(() => tf.conv2d(x, w as unknown as tf.Tensor4D, 1, 'same').dataSync());
    expect(w.dataSync()).toEqual(values);
    w.dispose();
  });
});

describe('counting', () => {
  test('tidy, keep and dispose leave nothing behind', () => {
    const start = tf.memory();
    const dataIds = tf.backend().numDataIds();
    const { pendingNodes } = statistics();
    const kept = tf.tidy(() => {
      const x = normals([4, 4]);
      tf.exp(x);
      return tf.keep(tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D));
    });
    expect(tf.memory().numTensors).toBe(start.numTensors + 1);
    kept.dataSync();
    kept.dispose();
    expect(tf.memory()).toMatchObject({ numTensors: start.numTensors, numDataBuffers: start.numDataBuffers });
    expect(tf.backend().numDataIds()).toBe(dataIds);
    expect(statistics().pendingNodes).toBe(pendingNodes);
  });

  test('two tensors of one value are freed one by one', () => {
    const x = tf.exp(tf.tensor1d([0, 1]));
    const twin = tf.clone(x);
    x.dispose();
    expect(twin.dataSync()[0]).toBe(1);
    twin.dispose();
  });

  test('time and profile', async () => {
    const { kernelMs } = await tf.time(() =>
      tf.matMul(normals([64, 64]) as tf.Tensor2D, normals([64, 64]) as tf.Tensor2D),
    );
    expect(kernelMs).toBeGreaterThan(0);
    const profile = await tf.profile(() => tf.tidy(() => tf.add(normals([2]), 1)));
    expect(profile.kernelNames).toContain('Add');
  });

  test('a training step with numbers that change: 200 times, one set of programs and flat memory', () => {
    const w = tf.variable(tf.mul(normals([3, 3, 16, 16]), 0.1));
    const x = tf.keep(normals([2, 8, 8, 16])) as tf.Tensor4D;
    const step = (i: number): void => {
      const { value, grads } = tf.variableGrads(
        () => tf.mean(tf.square(tf.sub(tf.conv2d(x, w as unknown as tf.Tensor4D, 1, 'same'), i * 0.01))) as tf.Scalar,
        [w],
      );
      tf.tidy(() => w.assign(tf.sub(w, tf.mul(grads[w.name]!, 0.1 / (1 + i)))));
      stepBoundary();
      tf.dispose([value, grads]);
    };
    for (let i = 0; i < 3; i++) step(i);
    const [tensors, { compiled, pooledBytes }] = [tf.memory().numTensors, statistics()];
    for (let i = 3; i < 200; i++) step(i);
    expect(tf.memory().numTensors).toBe(tensors);
    expect(statistics()).toMatchObject({ compiled, pooledBytes });
    expect(w.dataSync().every(Number.isFinite)).toBe(true);
    tf.dispose([w, x]);
  });
});

describe('tf.memory()', () => {
  /** Tensors, buffers and bytes after each of these, on one engine, from what there was before. */
  async function counts(engine: string, other: string): Promise<number[][]> {
    await tf.setBackend(engine);
    const start = tf.memory();
    const seen: number[][] = [];
    const look = () => {
      const { numTensors, numDataBuffers, numBytes } = tf.memory();
      const from = [start.numTensors, start.numDataBuffers, start.numBytes];
      seen.push([numTensors, numDataBuffers, numBytes].map((n, i) => n - from[i]!));
    };
    const keep = <T extends tf.Tensor>(t: T): T => {
      look();
      return t;
    };
    const x = keep(tf.tensor2d([1, 2, 3, 4], [2, 2]));
    const views = [
      keep(tf.reshape(x, [4])),
      keep(tf.reshape(x, [2, 2])), // the same shape
      keep(tf.expandDims(x)),
      keep(tf.squeeze(tf.ones([1, 3]))), // of a tensor that stays
      keep(tf.clone(x)),
      keep(tf.cast(x, 'float32')),
      keep(tf.cast(x, 'int32')), // new data
    ];
    const pending = keep(tf.add(x, 1));
    const pendingView = keep(tf.reshape(pending, [4]));
    const viewOfView = keep(tf.reshape(pendingView, [4, 1]));
    keep(tf.tidy(() => tf.sum(tf.reshape(tf.mul(x, 2), [4])))).dispose();
    pending.dispose(); // its data lives on in its views
    look();
    expect([...pendingView.dataSync()]).toEqual([2, 3, 4, 5]);
    const variable = keep(tf.variable(viewOfView));
    variable.assign(tf.tidy(() => tf.reshape(tf.mul(pendingView, 3), [4, 1])));
    look();
    x.dispose();
    look();
    // Another engine that reads a view takes it over: here alone, where it shares a data id with all its views.
    await tf.setBackend(other);
    tf.tidy(() => tf.add(views[0]!, 1).dataSync());
    await tf.setBackend(engine);
    for (const tensor of [...views, pendingView, viewOfView, variable]) {
      tensor.dispose();
      look();
    }
    return seen;
  }

  test('counts a reshaped tensor’s data once, as the cpu engine does, in whatever order they go', async () => {
    const expected = await counts('cpu', 'onnxruntime');
    expect(await counts('onnxruntime', 'cpu')).toEqual(expected);
    expect(expected[1]).toEqual([2, 1, 32]);
  });
});
