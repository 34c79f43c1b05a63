import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { checkGradients } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, test } from 'vitest';
import { Flux, MMDiT } from '../src/index.js';
import { randomise, tinyFlux, tinyMMDiT } from './support/tiny.js';

const draw = (seed: number, ...shape: number[]) =>
  tf.tensor(new TorchGenerator(seed).randn(shape.reduce((a, b) => a * b)), shape);

describe.each(await testEngines())(
  'on %s, gradients reach every parameter that is trained, and are right',
  (engine) => {
    beforeAll(() => switchTo(engine));
    const inputs = () => ({ context: draw(3, 2, 3, 6) as tf.Tensor3D, pooled: draw(4, 2, 5) as tf.Tensor2D });
    const x = () => draw(2, 2, 4, 6, 2) as tf.Tensor4D;

    test.each(['none', 'rms', 'l2'] as const)('MM-DiT, q and k normalised: %s', async (qkNorm) => {
      const model = new MMDiT({ ...tinyMMDiT, qkNorm });
      await randomise(model);
      const [image, time, told] = [x(), tf.tensor1d([5, 300]), inputs()];
      const loss = () => tf.mean(tf.square(model.forward(image, time, told))) as tf.Scalar;
      // The last text stream asks nothing: of its q, neither weights nor the norm's scale reach the output.
      const silent = qkNorm === 'rms' ? ['joint_blocks.1.context_block.attn.ln_q.weight'] : [];
      await checkGradients(model, loss, { step: 1e-3, silent });
      model.dispose();
    });

    test('FLUX', async () => {
      const model = new Flux(tinyFlux);
      await randomise(model);
      const [image, time, guidance] = [x(), tf.tensor1d([0.25, 0.5]), tf.tensor1d([1, 3.5])];
      const told = { ...inputs(), guidance };
      const loss = () => tf.mean(tf.square(model.forward(image, time, told))) as tf.Scalar;
      await checkGradients(model, loss, { step: 1e-3 });
      model.dispose();
    });
  },
);
