import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { checkGradients } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, test } from 'vitest';
import { UViT } from '../src/index.js';
import { randomise, tinyTextUViT, tinyUViT } from './support/tiny.js';

describe.each(await testEngines())('on %s, gradients reach every parameter, and are right', (engine) => {
  beforeAll(() => switchTo(engine));

  test.each([
    ['labels', tinyUViT],
    ['text', tinyTextUViT],
  ] as const)('with %s', async (_, config) => {
    const model = new UViT(config);
    await randomise(model);
    const x = tf.tensor4d(new TorchGenerator(2).randn(2 * 4 * 4 * 2), [2, 4, 4, 2]);
    const time = tf.tensor1d([5, 300]);
    const conditions = config.context
      ? { context: tf.tensor3d(new TorchGenerator(4).randn(2 * 3 * 5), [2, 3, 5]) }
      : { labels: tf.tensor1d([0, 3], 'int32') };
    const loss = () => tf.mean(tf.square(model.forward(x, time, conditions))) as tf.Scalar;
    await checkGradients(model, loss, { step: 1e-3 });
    model.dispose();
  });
});
