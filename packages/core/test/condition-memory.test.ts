import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import {
  conditionMemory,
  InvalidArgumentError,
  Module,
  recallAll,
  recalled,
  withConditionMemory,
} from '../src/index.js';

test('what is made of a condition is made once, and freed with the memory', () => {
  const condition = tf.tensor1d([1, 2]);
  const other = tf.tensor1d([1, 2]);
  const by = {};
  let calls = 0;
  const twice = (of: tf.Tensor) =>
    recalled(by, of, () => {
      calls++;
      return [tf.mul(of, 2)] as const;
    })[0];
  const before = tf.memory().numTensors;
  const memory = conditionMemory([condition]);
  const step = () =>
    withConditionMemory(memory, () => tf.tidy(() => [...tf.add(twice(condition), twice(other)).dataSync()]));
  expect([step(), step()]).toEqual([
    [4, 8],
    [4, 8],
  ]);
  // Once of the condition; of a tensor that the memory was not told of, at each step.
  expect(calls).toBe(3);
  expect(tf.memory().numTensors).toBe(before + 1);
  memory.dispose();
  expect(tf.memory().numTensors).toBe(before);
  tf.tidy(() => [twice(condition), twice(condition)]);
  expect(calls).toBe(5);
  tf.dispose([condition, other]);
});

test('what is made of what was kept is kept too, for each maker and each condition apart', () => {
  const [a, b] = [tf.scalar(1), tf.scalar(10)];
  const memory = conditionMemory([a, b]);
  const [first, second] = [{}, {}];
  let calls = 0;
  const plusOne = (by: object, of: tf.Tensor) =>
    recalled(by, of, () => {
      calls++;
      return [tf.add(of, 1)] as const;
    })[0];
  const step = () =>
    withConditionMemory(memory, () =>
      tf.tidy(() => [a, b].map((of) => plusOne(second, plusOne(first, of)).dataSync()[0])),
    );
  expect([step(), step()]).toEqual([
    [3, 12],
    [3, 12],
  ]);
  expect(calls).toBe(4);
  memory.dispose();
  tf.dispose([a, b]);
});

test('recallAll lets every module of a network that recalls compute what it keeps', () => {
  class Layer extends Module {
    calls = 0;
    recall(condition: tf.Tensor) {
      this.result(condition);
    }
    result(condition: tf.Tensor) {
      return recalled(this, condition, () => {
        this.calls++;
        return [tf.neg(condition)] as const;
      })[0];
    }
  }
  class Network extends Module {
    readonly layers = [new Layer(), new Layer()];
  }
  const network = new Network();
  const condition = tf.scalar(3);
  recallAll(network, condition);
  expect(network.layers.map(({ calls }) => calls)).toEqual([0, 0]);
  const memory = conditionMemory([condition]);
  withConditionMemory(memory, () => {
    recallAll(network, condition);
    recallAll(network, condition);
    expect(network.layers.map((layer) => layer.result(condition).dataSync()[0])).toEqual([-3, -3]);
  });
  expect(network.layers.map(({ calls }) => calls)).toEqual([1, 1]);
  memory.dispose();
  condition.dispose();
});

test('a body that goes on later is refused, and the memory does not stay in force', () => {
  const memory = conditionMemory([]);
  expect(() => withConditionMemory(memory, async () => 1)).toThrow(InvalidArgumentError);
  expect(() =>
    withConditionMemory(memory, () => {
      throw new Error('inside');
    }),
  ).toThrow('inside');
});
