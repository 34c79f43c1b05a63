import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type Module, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type ClassifierPool,
  NoisyClassifier,
  SuperResolutionUNet,
  UNet,
  UNet2D,
  UNet2DCondition,
  type UNetConfig,
} from '../src/index.js';
import { randomise, tinyClassifier, tinyUNet, tinyUNet2D, tinyUNet2DCondition } from './support/tiny.js';

const x = () => tf.tensor4d(new TorchGenerator(2).randn(2 * 8 * 8 * 2), [2, 8, 8, 2]);

/** Gradient of a mean square of the output with respect to every parameter, and the loss as a function. */
async function gradientsOf(model: Module, forward: () => tf.Tensor) {
  await randomise(model);
  const params = model.params();
  const loss = () => tf.mean(tf.square(forward())) as tf.Scalar;
  const before = tf.memory().numTensors;
  const { value, grads } = tf.variableGrads(
    loss,
    [...params.values()].map((param) => param.variable),
  );
  value.dispose();
  const byName = Object.fromEntries(
    [...params].map(([name, param]) => [name, grads[param.variable.name]!.dataSync() as Float32Array]),
  );
  tf.dispose(grads);
  expect(tf.memory().numTensors).toBe(before);
  return { byName, loss };
}

/** The derivative of the loss along `direction`, by a central difference. */
function slope(model: Module, loss: () => tf.Scalar, direction: Readonly<Record<string, Float32Array>>, step: number) {
  const at = (sign: number) =>
    tf.tidy(() => {
      const params = [...model.params()];
      const run = (rest: typeof params): number => {
        const [first, ...others] = rest;
        if (first === undefined) return loss().dataSync()[0]!;
        const [name, param] = first;
        const moved = tf.add(param.value, tf.mul(tf.tensor(direction[name]!, [...param.shape]), sign * step));
        return param.substitute(moved, () => run(others));
      };
      return run(params);
    });
  return (at(1) - at(-1)) / (2 * step);
}

function unit(v: Float32Array): Float32Array {
  const length = Math.hypot(...v);
  return v.map((value) => value / length);
}

async function check(model: Module, forward: () => tf.Tensor) {
  const { byName, loss } = await gradientsOf(model, forward);
  for (const [name, gradient] of Object.entries(byName)) {
    expect(gradient.every(Number.isFinite), name).toBe(true);
    expect(Math.max(...gradient.map(Math.abs)), `${name} gets no gradient`).toBeGreaterThan(0);
  }
  // Along each parameter's gradient, made a unit vector, and half as much of another random unit vector: the difference
  // quotient has an error of order step^2 and rounding of 1e-7 / step, both far below 1 % of this slope; a wrong or
  // missing term of any layer is far above.
  const rng = new TorchGenerator(7);
  const direction = Object.fromEntries(
    Object.entries(byName).map(([name, g]) => {
      const random = unit(rng.randn(g.length));
      return [name, unit(g).map((value, i) => value + 0.5 * random[i]!)];
    }),
  );
  const expected = Object.entries(byName).reduce(
    (sum, [name, g]) => sum + g.reduce((inner, value, i) => inner + value * direction[name]![i]!, 0),
    0,
  );
  expect(Math.abs(slope(model, loss, direction, 1e-3) / expected - 1)).toBeLessThan(0.01);
}

describe.each(await testEngines())('on %s, gradients reach every parameter, and are right', (engine) => {
  beforeAll(() => switchTo(engine));

  const variants: [string, Partial<UNetConfig>][] = [
    ['residual, scale-shift, new order', {}],
    ['conv, additive, legacy order', { resampling: 'conv', timeConditioning: 'additive', attentionOrder: 'legacy' }],
    ['pool, one head', { resampling: 'pool', heads: { count: 1 }, headsUp: { count: 2 } }],
  ];
  test.each(variants)('UNet: %s', async (_, change) => {
    const model = new UNet({ ...tinyUNet, ...change });
    const [images, time, labels] = [x(), tf.tensor1d([5, 300]), tf.tensor1d([0, 2], 'int32')];
    await check(model, () => model.forward(images, time, { labels }));
  });

  test('SuperResolutionUNet', async () => {
    const model = new SuperResolutionUNet({ ...tinyUNet, classes: null });
    const [images, time] = [x(), tf.tensor1d([5, 300])];
    const lowRes = tf.tensor4d(new TorchGenerator(4).randn(2 * 4 * 4 * 2), [2, 4, 4, 2]);
    await check(model, () => model.forward(images, time, { lowRes }));
  });

  test('UNet2D', async () => {
    const model = new UNet2D(tinyUNet2D);
    const [images, time, labels] = [x(), tf.tensor1d([5, 300]), tf.tensor1d([0, 2], 'int32')];
    await check(model, () => model.forward(images, time, { labels }));
  });

  test('UNet2DCondition', async () => {
    const model = new UNet2DCondition(tinyUNet2DCondition);
    const [images, time] = [x(), tf.tensor1d([5, 300])];
    const rng = new TorchGenerator(4);
    const context = tf.tensor3d(rng.randn(2 * 3 * 6), [2, 3, 6]);
    const pooled = tf.tensor2d(rng.randn(2 * 5), [2, 5]);
    const timeIds = tf.tensor2d([64, 64, 0, 8], [2, 2]);
    const timeCondition = tf.tensor2d(rng.randn(2 * 3), [2, 3]);
    const labels = tf.tensor1d([0, 2], 'int32');
    await check(model, () => model.forward(images, time, { context, pooled, timeIds, timeCondition, labels }));
  });

  test.each<ClassifierPool>(['attention', 'adaptive', 'spatial', 'spatial_v2'])('NoisyClassifier: %s', async (pool) => {
    const model = new NoisyClassifier({ ...tinyClassifier, pool });
    const [images, time] = [x(), tf.tensor1d([5, 300])];
    await check(model, () => model.forward(images, time));
  });
});
