import { switchTo } from '@mezzotint/backend/testing';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { attention, groupNorm, KERNELS, silu } from '../src/index.js';

const registered: string[] = [];

/** Registers a kernel on cpu and counts its calls. */
function kernel(name: string, body: (inputs: tf.NamedTensorMap, attrs: unknown) => tf.Tensor | tf.Tensor[]) {
  const calls: { inputs: string[]; attrs: unknown }[] = [];
  tf.registerKernel({
    kernelName: name,
    backendName: 'cpu',
    kernelFunc: ({ inputs, attrs }) => {
      calls.push({ inputs: Object.keys(inputs).sort(), attrs });
      return body(inputs as tf.NamedTensorMap, attrs);
    },
  });
  registered.push(name);
  return calls;
}

beforeAll(() => switchTo('cpu'));
afterEach(() => {
  for (const name of registered.splice(0)) tf.unregisterKernel(name, 'cpu');
});

test('an op runs the fused kernel of the active engine', () => {
  const calls = kernel(KERNELS.silu, ({ x }) => tf.mul(x!, 100));
  expect(tf.tidy(() => silu(tf.tensor1d([2])).dataSync()[0])).toBe(200);
  expect(calls).toEqual([{ inputs: ['x'], attrs: {} }]);
});

test('while a gradient is recorded, the fused forward needs the fused gradient', () => {
  const forward = kernel(KERNELS.silu, ({ x }) => tf.mul(x!, 100));
  const slope = () =>
    tf.tidy(
      () =>
        tf
          .grad((x) => silu(x))(tf.tensor1d([0]))
          .dataSync()[0],
    );
  expect(slope()).toBeCloseTo(0.5, 6); // silu'(0) = 1/2
  expect(forward).toHaveLength(0);
  const backward = kernel(`${KERNELS.silu}Grad`, ({ dy }) => tf.mul(dy!, 100));
  expect(slope()).toBe(100);
  expect(forward).toHaveLength(1);
  expect(backward).toEqual([{ inputs: ['dy', 'x'], attrs: {} }]);
});

test('absent inputs are left out, and what the forward gives reaches the gradient', () => {
  const zeros = (shape: number[]) => tf.zeros(shape);
  const forward = kernel(KERNELS.groupNorm, ({ x }) => [tf.clone(x!), zeros([1, 2]), tf.ones([1, 2])]);
  const backward = kernel(`${KERNELS.groupNorm}Grad`, ({ dy }) => [tf.clone(dy!), zeros([4]), zeros([4])]);
  tf.tidy(() => tf.grad((x) => groupNorm(x, null, tf.zeros([4]), { groups: 2, epsilon: 1e-5 }))(tf.ones([1, 3, 4])));
  expect(forward).toEqual([{ inputs: ['shift', 'x'], attrs: { groups: 2, epsilon: 1e-5 } }]);
  expect(backward).toEqual([{ inputs: ['dy', 'inverseDeviation', 'mean', 'x'], attrs: { groups: 2 } }]);
});

test('a second derivative is made of recorded ops, whatever is fused', () => {
  kernel(KERNELS.silu, ({ x }) => tf.mul(x!, tf.sigmoid(x!)));
  const backward = kernel(`${KERNELS.silu}Grad`, ({ dy }) => tf.mul(dy!, 100));
  const second = tf.tidy(
    () =>
      tf
        .grad(tf.grad((x: tf.Tensor) => silu(x)))(tf.tensor1d([0]))
        .dataSync()[0],
  );
  expect(second).toBeCloseTo(0.5, 6); // silu''(0) = 1/2
  expect(backward).toHaveLength(0);
});

test('attention with a fused forward and gradient passes o and the mask on', () => {
  const shape: [number, number, number, number] = [1, 1, 2, 2];
  kernel(KERNELS.attention, ({ q }) => tf.clone(q!));
  const backward = kernel(`${KERNELS.attention}Grad`, ({ q, mask }) => [
    tf.clone(q!),
    tf.clone(q!),
    tf.clone(q!),
    ...(mask === undefined ? [] : [tf.clone(mask)]),
  ]);
  const x = tf.ones(shape) as tf.Tensor4D;
  tf.dispose(tf.grad((q) => attention(q as tf.Tensor4D, x, x, { mask: x, scale: 2 }))(x));
  tf.dispose(tf.grad((q) => attention(q as tf.Tensor4D, x, x))(x));
  expect(backward).toEqual([
    { inputs: ['dy', 'k', 'mask', 'o', 'q', 'v'], attrs: { scale: 2 } },
    { inputs: ['dy', 'k', 'o', 'q', 'v'], attrs: { scale: 1 / Math.sqrt(2) } },
  ]);
  x.dispose();
});
