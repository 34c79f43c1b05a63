import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type Module, TorchGenerator } from '@mezzotint/core';
import { checkGradients } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, test } from 'vitest';
import {
  ADMUNet,
  type ADMUNetConfig,
  type ClassifierPool,
  NoisyClassifier,
  SuperResolutionUNet,
  UNet2D,
  UNet2DCondition,
} from '../src/index.js';
import { randomise, tinyClassifier, tinyDeepFloyd, tinyUNet, tinyUNet2D, tinyUNet2DCondition } from './support/tiny.js';

const x = () => tf.tensor4d(new TorchGenerator(2).randn(2 * 8 * 8 * 2), [2, 8, 8, 2]);

/** Checks the gradients of the output's mean square, with random weights also where a model begins with zeros. */
async function check(model: Module, forward: () => tf.Tensor) {
  await randomise(model);
  // Softmax does not see what is the same for all keys.
  const names = [...model.params().keys()];
  const silent = names.filter((name) => {
    const [place, own] = [name.replace(/[^.]+\.bias$/, ''), /[^.]+\.bias$/.exec(name)?.[0]];
    const alone = (other: string) => !names.includes(`${place}${other}`);
    return (
      (own === 'to_k.bias' && alone('add_k_proj.bias')) ||
      (own === 'add_k_proj.bias' && alone('to_k.bias')) ||
      own === 'k_proj.bias'
    );
  });
  await checkGradients(model, () => tf.mean(tf.square(forward())), { silent, step: 1e-3 });
}

describe.each(await testEngines())('on %s, gradients reach every parameter, and are right', (engine) => {
  beforeAll(() => switchTo(engine));

  const variants: [string, Partial<ADMUNetConfig>][] = [
    ['residual, scale-shift, new order', {}],
    ['conv, additive, legacy order', { resampling: 'conv', timeConditioning: 'additive', attentionOrder: 'legacy' }],
    ['pool, one head', { resampling: 'pool', heads: { count: 1 }, headsUp: { count: 2 } }],
  ];
  test.each(variants)('UNet: %s', async (_, change) => {
    const model = new ADMUNet({ ...tinyUNet, ...change });
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

  test("UNet2DCondition of DeepFloyd IF's blocks", async () => {
    const model = new UNet2DCondition(tinyDeepFloyd);
    const [images, time, labels] = [x(), tf.tensor1d([5, 300]), tf.tensor1d([0, 250])];
    const context = tf.tensor3d(new TorchGenerator(4).randn(2 * 3 * 6), [2, 3, 6]);
    await check(model, () => model.forward(images, time, { context, labels }));
  });

  test.each<ClassifierPool>(['attention', 'adaptive', 'spatial', 'spatial_v2'])('NoisyClassifier: %s', async (pool) => {
    const model = new NoisyClassifier({ ...tinyClassifier, pool });
    const [images, time] = [x(), tf.tensor1d([5, 300])];
    await check(model, () => model.forward(images, time));
  });
});
