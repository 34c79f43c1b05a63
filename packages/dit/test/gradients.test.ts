import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { checkGradients } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, test } from 'vitest';
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
      await checkGradients(model, loss, { step: 1e-3 });
      model.dispose();
    });
  },
);
