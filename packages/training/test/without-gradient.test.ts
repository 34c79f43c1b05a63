import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { withoutGradient } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('the value is there, the gradient is of what is outside', () => {
    const x = tf.tensor1d([1, 2, 3]);
    const before = tf.memory().numTensors;
    // f = x stop(x^2): df = stop(x^2), not 3 x^2.
    const { value, grad } = tf.valueAndGrad((x: tf.Tensor) =>
      tf.sum(
        tf.mul(
          x,
          withoutGradient(() => tf.square(x)),
        ),
      ),
    )(x);
    expect([...grad.dataSync()]).toEqual([1, 4, 9]);
    expect(value.dataSync()[0]).toBe(36);
    tf.dispose([value, grad]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('nothing inside is recorded, nor left behind', () => {
    const x = tf.tensor1d([1, 2]);
    const before = tf.memory().numTensors;
    let recorded = -1;
    tf.grad((x: tf.Tensor) => {
      const tape = () => tf.engine().state.activeTape?.length ?? 0;
      const length = tape();
      const inside = withoutGradient(() => tf.exp(tf.square(tf.add(x, 1))));
      recorded = tape() - length;
      return tf.sum(tf.mul(x, inside));
    })(x).dispose();
    // The constant itself at most.
    expect(recorded).toBeLessThanOrEqual(1);
    withoutGradient(() => tf.square(x)).dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
