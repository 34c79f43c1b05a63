import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { checkGradients } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, test } from 'vitest';
import { ZigMa } from '../src/index.js';
import { randomise, tinyBidirectional, tinyMamba2, tinyZigMa } from './support/tiny.js';

describe.each(await testEngines())(
  'on %s, gradients reach every parameter that is trained, and are right',
  (engine) => {
    beforeAll(() => switchTo(engine));

    test.each([
      ['labels and paths', tinyZigMa],
      ['text', { ...tinyZigMa, depth: 1, classes: null, nullLabel: false, context: { tokens: 3, width: 5 } }],
      ['both directions', tinyBidirectional],
      ['Mamba-2', tinyMamba2],
    ] as const)('%s', async (_, config) => {
      const model = new ZigMa(config);
      await randomise(model);
      const x = tf.tensor4d(new TorchGenerator(2).randn(2 * 6 * 6 * 2), [2, 6, 6, 2]);
      const time = tf.tensor1d([0.2, 0.7]);
      const conditions = {
        ...(config.classes !== null && { labels: tf.tensor1d([0, 3], 'int32') }),
        ...(config.context && { context: tf.tensor3d(new TorchGenerator(4).randn(2 * 3 * 5), [2, 3, 5]) }),
      };
      const loss = () => tf.mean(tf.square(model.forward(x, time, conditions))) as tf.Scalar;
      await checkGradients(model, loss, { step: 1e-3 });
      model.dispose();
    });
  },
);
