import { EDM, type EDM2, type EDM2UNet, edm2, edm2FromOriginal, edmFromOriginal } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import type { Adapter, NamedTensors } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** EDM's preconditioned networks: DDPM++, NCSN++ and ADM. F_x is the network's own output for c_in x and c_noise. */
export const edm: Adapter<EDM> = {
  classes: ['EDMPrecond'],
  build: (config) => new EDM(edmFromOriginal(config)),
  run: (model, inputs) => {
    const x = toChannelsLast(input(inputs, 'x'));
    const sigma = input<tf.Tensor1D>(inputs, 'sigma');
    const augment = inputs.augment_labels as tf.Tensor2D | undefined;
    const labels = labelsOf(inputs);
    return {
      D_x: toChannelsFirst(model.forward(x, sigma, labels)),
      F_x: toChannelsFirst(model.model.forward(scaled(x, sigma, model.config.sigmaData), noiseOf(sigma), labels)),
      ...(augment && { D_x_augment: toChannelsFirst(model.forward(x, sigma, { ...labels, augment })) }),
    };
  },
};

/** EDM2's preconditioned network with its uncertainty head; D_x_nolabel is without a label. */
export const edm2Adapter: Adapter<EDM2> = {
  classes: ['Precond'],
  build: (config) => edm2(edm2FromOriginal(config)),
  run: (model, inputs) => {
    const x = toChannelsLast(input(inputs, 'x'));
    const sigma = input<tf.Tensor1D>(inputs, 'sigma');
    const labels = labelsOf(inputs);
    const none = noLabels(model.unet, x.shape[0]);
    return {
      D_x: toChannelsFirst(model.forward(x, sigma, labels)),
      D_x_nolabel: toChannelsFirst(model.forward(x, sigma, none)),
      F_x: toChannelsFirst(model.unet.forward(scaled(x, sigma, model.sigmaData), noiseOf(sigma), labels)),
      logvar: tf.reshape(model.logVariance(noiseOf(sigma)), [-1, 1, 1, 1]),
    };
  },
};

/** One-hot rows as labels. */
function labelsOf(inputs: NamedTensors): { labels?: tf.Tensor1D } {
  const rows = inputs.class_labels;
  return rows === undefined ? {} : { labels: tf.cast(tf.argMax(rows, 1), 'int32') as tf.Tensor1D };
}

function noLabels({ config: { classes } }: EDM2UNet, n: number): { labels?: tf.Tensor1D } {
  return classes === null ? {} : { labels: tf.fill([n], classes, 'int32') as tf.Tensor1D };
}

function scaled(x: tf.Tensor4D, sigma: tf.Tensor1D, sigmaData: number): tf.Tensor4D {
  const total = tf.add(tf.square(tf.reshape(sigma, [-1, 1, 1, 1])), sigmaData ** 2);
  return tf.div(x, tf.sqrt(total));
}

function noiseOf(sigma: tf.Tensor1D): tf.Tensor1D {
  return tf.div(tf.log(sigma), 4);
}
