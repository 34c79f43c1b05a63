import { describe, Module, Param, zeros } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';

// No backend is imported in this file.

test('describe needs no backend, and leaves none behind', () => {
  class Dense extends Module {
    readonly weight = new Param([3, 2], { init: zeros });
    forward(x: tf.Tensor2D): tf.Tensor2D {
      return tf.matMul(x, this.weight.value as tf.Tensor2D, false, true);
    }
  }
  const engine = tf.engine() as unknown as { backendName: unknown; registryFactory: object };
  const before = engine.backendName;
  for (const _ of [1, 2]) expect(describe(new Dense(), [{ shape: [5, 2] }]).macs).toBe(30);
  expect(engine.backendName).toBe(before);
  expect(engine.registryFactory).toEqual({});
  expect(() => tf.backend()).toThrow('No backend found');
});
