import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { checkGradients } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, test } from 'vitest';
import { RIN } from '../src/index.js';
import { otherRIN, randomise, tinyRIN } from './support/tiny.js';

describe.each(await testEngines())('on %s, gradients reach every parameter, and are right', (engine) => {
  beforeAll(() => switchTo(engine));

  test.each([
    ['conditions among the latents', tinyRIN],
    ['conditions among the tokens', otherRIN],
  ] as const)('%s', async (_, config) => {
    const model = new RIN(config);
    await randomise(model);
    const shape = [2, config.imageHeight, config.imageWidth, 2] as [number, number, number, number];
    const x = tf.tensor4d(new TorchGenerator(2).randn(shape.reduce((a, b) => a * b)), shape);
    const [gamma, labels] = [tf.tensor1d([0.2, 0.7]), tf.tensor1d([0, 3], 'int32')];
    // What the pass before left is a constant: difference quotients must not change it.
    const previous = model.pass(x, gamma, { labels });
    // A block that only reads reaches the latents that are handed on, not the prediction.
    const loss = () => {
      const { prediction, latents } = model.pass(x, gamma, { labels, previous });
      return tf.add(tf.mean(tf.square(prediction)), tf.mean(tf.square(latents))) as tf.Scalar;
    };
    // The softmax takes the biases of keys out.
    const silent = [...model.params().keys()].filter((name) => name.endsWith('_key_dense.bias'));
    await checkGradients(model, loss, { step: 1e-3, silent });
    model.dispose();
  });
});
