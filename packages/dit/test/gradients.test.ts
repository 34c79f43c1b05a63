import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { Param, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { DiT } from '../src/index.js';
import { randomise, tinyDiT } from './support/tiny.js';

describe.each(await testEngines())(
  'on %s, gradients reach every parameter that is trained, and are right',
  (engine) => {
    beforeAll(() => switchTo(engine));

    test.each(['shared', 'per-block'] as const)('embedders %s', async (embedders) => {
      const model = new DiT({ ...tinyDiT, embedders });
      await randomise(model);
      const x = tf.tensor4d(new TorchGenerator(2).randn(2 * 4 * 4 * 2), [2, 4, 4, 2]);
      const [time, labels] = [tf.tensor1d([5, 300]), tf.tensor1d([0, 3], 'int32')];
      const loss = () => tf.mean(tf.square(model.forward(x, time, { labels }))) as tf.Scalar;
      const params = [...model.params()].filter(([, param]) => param.trainable);
      const before = tf.memory().numTensors;
      const { value, grads } = tf.variableGrads(
        loss,
        params.map(([, param]) => param.variable),
      );
      const gradients = params.map(([, param]) => grads[param.variable.name]!.dataSync<'float32'>());
      tf.dispose([value, grads]);
      expect(tf.memory().numTensors).toBe(before);
      for (const [i, [name]] of params.entries()) {
        expect(gradients[i]!.every(Number.isFinite), name).toBe(true);
        expect(Math.max(...gradients[i]!.map(Math.abs)), `${name} gets no gradient`).toBeGreaterThan(0);
      }
      // Along each parameter's gradient, made a unit vector, and half as much of another random unit vector: the difference
      // quotient has an error of order step^2 and rounding of 1e-7 / step, both far below 1 % of this slope; a wrong or
      // missing term of any layer is far above.
      const rng = new TorchGenerator(7);
      const directions = gradients.map((g) => {
        const random = unit(rng.randn(g.length));
        return unit(g).map((value, i) => value + 0.5 * random[i]!);
      });
      const expected = gradients.reduce((sum, g, k) => sum + g.reduce((s, v, i) => s + v * directions[k]![i]!, 0), 0);
      const lossAt = (step: number) =>
        tf.tidy(() => {
          const moved = params.map(([, param], k) => {
            const direction = tf.tensor(directions[k]!, [...param.shape]);
            return [param, tf.add(param.value, tf.mul(direction, step))] as const;
          });
          return Param.substituteAll(moved, () => loss().dataSync()[0]!);
        });
      const step = 1e-3;
      expect(Math.abs((lossAt(step) - lossAt(-step)) / (2 * step) / expected - 1)).toBeLessThan(0.01);
      model.dispose();
    });
  },
);

function unit(v: ArrayLike<number>): Float32Array {
  const values = Float32Array.from(v);
  const length = Math.hypot(...values);
  return values.map((value) => value / length);
}
