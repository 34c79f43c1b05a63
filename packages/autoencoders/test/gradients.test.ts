import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { checkGradients, gradientsOf } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  Autoencoder,
  AutoencoderKL,
  AutoencoderTiny,
  klLoss,
  l1Loss,
  l2Loss,
  PatchDiscriminator,
  sampleGaussian,
  VQModel,
  vqLoss,
} from '../src/index.js';
import { noise, randomise, tinyCoder, tinyKL, tinyTiny, tinyVQ } from './support/tiny.js';

describe.each(await testEngines())('on %s, gradients reach every parameter, and are right', (engine) => {
  beforeAll(() => switchTo(engine));

  test('AutoencoderKL: L2 and KL through a sample', async () => {
    const model = new AutoencoderKL(tinyKL);
    await randomise(model);
    const x = noise([2, 4, 4, 2]);
    await checkGradients(
      model,
      () => {
        const gaussian = model.encode(x);
        const y = model.decode(sampleGaussian(gaussian, new TorchGenerator(5)));
        return tf.add(l2Loss(y, x), tf.mul(klLoss(gaussian, 4 * 4 * 2), 0.1));
      },
      // Softmax does not see what is the same for all keys.
      { silent: ['encoder.mid_block.attentions.0.to_k.bias', 'decoder.mid_block.attentions.0.to_k.bias'] },
    );
  });

  test('Autoencoder: L2', async () => {
    const model = new Autoencoder({ ...tinyCoder, midAttention: false });
    await randomise(model);
    const x = noise([2, 4, 4, 2]);
    await checkGradients(model, () => l2Loss(model.forward(x), x));
  });

  test('AutoencoderTiny: L2', async () => {
    const model = new AutoencoderTiny(tinyTiny);
    await randomise(model);
    const x = noise([2, 4, 4, 2]);
    // Where a step crosses a bend of ReLU, the quotient sees both sides: a smaller step, and 2 %.
    await checkGradients(model, () => l2Loss(model.forward(x), x), { step: 1e-4, tolerance: 0.02 });
  });

  test('VQModel: L1 straight through, codebook and commitment', async () => {
    const model = new VQModel(tinyVQ);
    await randomise(model);
    const x = noise([2, 4, 4, 2]);
    const loss = () => {
      const z = model.encode(x);
      const codes = model.quantize.lookup(model.quantize.nearest(z));
      return tf.add<tf.Scalar>(l1Loss(model.decode(z), x), vqLoss(z, codes));
    };
    // No difference quotient: the straight-through gradient is not the slope of the loss, by design.
    const byName = await gradientsOf(model, loss);
    const silent = Object.entries(byName)
      .filter(([, g]) => g === undefined || Math.max(...g.map(Math.abs)) < 1e-7)
      .map(([name]) => name);
    expect(silent.filter((name) => !name.endsWith('to_k.bias'))).toEqual([]);
  });

  test('PatchDiscriminator', async () => {
    const model = new PatchDiscriminator({ inChannels: 2, channels: 4, layers: 2 });
    await randomise(model);
    const x = noise([2, 16, 16, 2]);
    await checkGradients(model, () => tf.mean<tf.Scalar>(tf.square(model.forward(x))), { step: 1e-4, tolerance: 0.02 });
  });
});
