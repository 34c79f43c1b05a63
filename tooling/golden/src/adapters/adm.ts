import { classifierFromGuidedDiffusion, NoisyClassifier } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import type { Adapter } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** guided-diffusion's noisy classifier; `grad` is 100 times the gradient of sum log p(y | x, t) with respect to x. */
export const admClassifier: Adapter<NoisyClassifier> = {
  classes: ['EncoderUNetModel'],
  build: (config) => new NoisyClassifier(classifierFromGuidedDiffusion(config)),
  run: (model, inputs) => {
    const x = toChannelsLast(input(inputs, 'x'));
    const time = input<tf.Tensor1D>(inputs, 'timesteps');
    const chosen = tf.oneHot(input<tf.Tensor1D>(inputs, 'y'), model.config.classes);
    const likelihood = (x: tf.Tensor) =>
      tf.sum(tf.mul(tf.logSoftmax(model.forward(x as tf.Tensor4D, time)), chosen)) as tf.Scalar;
    return {
      logits: model.forward(x, time),
      grad: toChannelsFirst(tf.mul(tf.grad(likelihood)(x), 100)),
    };
  },
};
