import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { checkGradients } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, test } from 'vitest';
import { EfficientUNet } from '../src/index.js';
import { conditions, noisy, randomise, tinyBase, tinyEfficient } from './support/tiny.js';

describe.each(await testEngines())('on %s, gradients reach every parameter, and are right', (engine) => {
  beforeAll(() => switchTo(engine));

  test.each([
    ['base', tinyBase],
    ['efficient', tinyEfficient],
  ])('%s', async (_, config) => {
    const model = new EfficientUNet(config);
    await randomise(model);
    const [x, time, inputs] = [noisy(), tf.tensor1d([1, -2]), conditions(config)];
    const loss = () => tf.mean(tf.square(model.forward(x, time, inputs))) as tf.Scalar;
    // A softmax over the pixels does not see what is added to all of them.
    const silent = [...model.params().keys()].filter((name) => name.endsWith('gca.to_k.bias'));
    await checkGradients(model, loss, { step: 1e-3, silent });
    model.dispose();
  });
});
