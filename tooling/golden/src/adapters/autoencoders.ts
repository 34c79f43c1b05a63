import {
  AutoencoderKL,
  AutoencoderTiny,
  autoencoderKLFromDiffusers,
  autoencoderTinyFromDiffusers,
  VQModel,
  vqModelFromDiffusers,
} from '@mezzotint/autoencoders';
import * as tf from '@tensorflow/tfjs-core';
import type { Adapter } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** diffusers' KL autoencoder. */
export const autoencoderKL: Adapter<AutoencoderKL> = {
  classes: ['AutoencoderKL'],
  build: (config) => new AutoencoderKL(autoencoderKLFromDiffusers(config)),
  run: (model, inputs) => {
    const { mean, logvar } = model.encode(toChannelsLast(input(inputs, 'sample')));
    const decoded = model.decode(toChannelsLast(input(inputs, 'latent')));
    return { mean: toChannelsFirst(mean), logvar: toChannelsFirst(logvar), decoded: toChannelsFirst(decoded) };
  },
};

/** diffusers' VQ autoencoder: latent images before and after quantisation, indices as one list. */
export const vqModel: Adapter<VQModel> = {
  classes: ['VQModel'],
  build: (config) => new VQModel(vqModelFromDiffusers(config)),
  run: (model, inputs) => {
    const latents = model.encode(toChannelsLast(input(inputs, 'sample')));
    const indices = model.quantize.nearest(latents);
    return {
      latents: toChannelsFirst(latents),
      quantized: toChannelsFirst(model.quantize.lookup(indices)),
      decoded: toChannelsFirst(model.decode(latents)),
      indices: tf.reshape(indices, [-1]),
    };
  },
};

/** diffusers' tiny autoencoder. */
export const autoencoderTiny: Adapter<AutoencoderTiny> = {
  classes: ['AutoencoderTiny'],
  build: (config) => new AutoencoderTiny(autoencoderTinyFromDiffusers(config)),
  run: (model, inputs) => {
    const latents = model.encode(toChannelsLast(input(inputs, 'sample')));
    return { latents: toChannelsFirst(latents), decoded: toChannelsFirst(model.decode(latents)) };
  },
};
