import { OnnxRuntimeBackend } from '@mezzotint/backend-onnxruntime';
import { stepBoundary } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { normals } from './against-cpu.js';

let engine: OnnxRuntimeBackend;

/** A backend of the test's own, so that its counters start at zero. */
function fresh(options: ConstructorParameters<typeof OnnxRuntimeBackend>[0] = {}): OnnxRuntimeBackend {
  tf.removeBackend('onnxruntime');
  tf.registerBackend('onnxruntime', () => new OnnxRuntimeBackend(options), 3);
  tf.setBackend('onnxruntime');
  return tf.backend() as OnnxRuntimeBackend;
}

beforeEach(() => {
  engine = fresh();
});

describe('when graphs run', () => {
  test('nothing runs until a number is read, and what nobody wants never does', () => {
    const x = tf.tensor1d([1, 2, 3]);
    const y = tf.mul(tf.exp(x), 2);
    const waste = tf.sin(y);
    expect(engine.statistics()).toMatchObject({ compiled: 0, pendingNodes: 3 });
    waste.dispose();
    expect(engine.statistics().pendingNodes).toBe(2);
    expect(y.dataSync()[0]).toBeCloseTo(2 * Math.E, 5);
    expect(engine.statistics()).toMatchObject({ compiled: 1, pendingNodes: 0 });
  });

  test('a step boundary runs what is held', () => {
    const y = tf.keep(tf.exp(tf.tensor1d([0, 1])));
    stepBoundary();
    expect(engine.statistics()).toMatchObject({ compiled: 1, pendingNodes: 0 });
    expect([...y.dataSync()]).toEqual([1, Math.fround(Math.E)]);
    expect(engine.statistics().compiled).toBe(1);
    y.dispose();
  });

  test('the same step with other numbers is the same program: scalars are inputs', () => {
    const x = tf.keep(normals([8, 8]));
    for (let i = 1; i <= 5; i++) {
      const y = tf.tidy(() => tf.add(tf.mul(x, i * 0.37), tf.fill([8, 8], i * 1.5)));
      y.dataSync();
      y.dispose();
    }
    expect(engine.statistics()).toMatchObject({ compiled: 1, reused: 4 });
    x.dispose();
  });

  test('another shape, attribute or kept output is another program', () => {
    const sum = (shape: number[], axis: number) => tf.tidy(() => tf.sum(tf.exp(normals(shape)), axis)).dataSync();
    sum([2, 3], 0);
    sum([2, 3], 1);
    sum([3, 2], 0);
    expect(engine.statistics().compiled).toBe(3);
    const held = tf.exp(normals([2, 3]));
    tf.sum(held, 0).dataSync();
    expect(engine.statistics().compiled).toBe(4);
  });

  test('views of stored tensors cost no program', () => {
    const x = tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]);
    expect([...tf.transpose(x).dataSync()]).toEqual([1, 4, 2, 5, 3, 6]);
    expect([...tf.reshape(tf.transpose(x), [3, 1, 2]).dataSync()]).toEqual([1, 4, 2, 5, 3, 6]);
    expect(engine.statistics().compiled).toBe(0);
  });

  test('a read inside a tidy does not compute the temporaries around it, and they stay correct', () => {
    const [first, last] = tf.tidy(() => {
      const a = tf.exp(tf.tensor1d([0, 1]));
      const b = tf.mul(a, 3);
      const c = tf.sum(b);
      const total = c.dataSync()[0]!;
      expect(engine.statistics().pendingNodes).toBeGreaterThan(0); // a and b were not made outputs
      return [total, b.dataSync()[1]!];
    });
    expect(first).toBeCloseTo(3 + 3 * Math.E, 4);
    expect(last).toBeCloseTo(3 * Math.E, 4);
  });
});

describe('graphs that nobody reads', () => {
  test('are cut at the same places of a loop, so that few programs do', () => {
    engine = fresh({ maxPendingNodes: 100 });
    let x: tf.Tensor = tf.keep(normals([4, 4]));
    for (let i = 0; i < 200; i++) {
      const next = tf.tidy(() => tf.tanh(tf.add(tf.mul(tf.sin(x), 0.9), tf.mul(x, 0.1))));
      x.dispose();
      x = tf.keep(next);
      expect(engine.statistics().pendingNodes).toBeLessThanOrEqual(110);
    }
    expect(x.dataSync().every((value) => Number.isFinite(value))).toBe(true);
    // 1,000 nodes in some ten cuts: the first may differ, then they repeat; one more for the rest.
    expect(engine.statistics().compiled).toBeLessThanOrEqual(4);
    x.dispose();
  });
});

describe('faults', () => {
  test('an impossible call fails at once and harms nothing', () => {
    const x = tf.exp(tf.tensor2d([1, 2, 3, 4], [2, 2]));
    expect(() => tf.engine().runKernel('Reshape', { x }, { shape: [3] })).toThrow(/Size\(4\)/);
    expect(() => tf.gather(x, tf.tensor1d([5], 'int32'))).toThrow(/GatherV2.*5/);
    expect(x.dataSync()[0]).toBeCloseTo(Math.E, 5);
  });

  test('a graph that fails names the kernel; the rest stays readable', () => {
    const x = tf.tensor1d([1, 2, 3]);
    const good = tf.keep(tf.exp(x));
    const beyond = tf.add(tf.tensor1d([0], 'int32'), tf.scalar(7, 'int32'));
    const bad = tf.keep(tf.mul(tf.gather(good, beyond), 2));
    const later = tf.keep(tf.sin(x));
    expect(() => stepBoundary()).toThrow(/GatherV2/);
    expect(() => bad.dataSync()).toThrow(/GatherV2/);
    expect(() => tf.add(bad, 1)).toThrow(/GatherV2/);
    expect(good.dataSync()[1]).toBeCloseTo(Math.E ** 2, 4);
    expect(later.dataSync()[0]).toBeCloseTo(Math.sin(1), 6);
    tf.dispose([good, bad, later]);
  });

  test('a fault in a graph that is cut is reported by what it spoilt, not by the call that made the graph too long', () => {
    engine = fresh({ maxPendingNodes: 30 });
    const tensors = tf.memory().numTensors;
    const bad = tf.tidy(() => {
      const beyond = tf.add(tf.tensor1d([7], 'int32'), tf.scalar(0, 'int32')) as tf.Tensor1D;
      return tf.gather(tf.tensor1d([1, 2]), beyond);
    });
    let x = tf.scalar(0);
    for (let i = 0; i < 60; i++) {
      const next = tf.tidy(() => tf.add(tf.mul(x, 1), tf.exp(0)) as tf.Scalar);
      x.dispose();
      x = next;
    }
    expect(x.dataSync()[0]).toBe(60);
    expect(() => bad.dataSync()).toThrow(/GatherV2/);
    tf.dispose([bad, x]);
    expect(tf.memory().numTensors).toBe(tensors);
    expect(engine.statistics().pendingNodes).toBe(0);
  });
});
