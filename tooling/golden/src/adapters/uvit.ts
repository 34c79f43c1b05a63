import { UViT, uvitFromOriginal, uvitTextToImageFromOriginal } from '@mezzotint/uvit';
import type * as tf from '@tensorflow/tfjs-core';
import type { Adapter } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** Bao et al.'s U-ViT, unconditional or with labels. */
export const uvit: Adapter<UViT> = {
  classes: ['UViT'],
  // lucidrains' simple diffusion has a class of the same name.
  accepts: (config) => Object.hasOwn(config as object, 'img_size'),
  build: (config) => new UViT(uvitFromOriginal(config)),
  run: (model, inputs) => {
    const labels = inputs.y as tf.Tensor1D | undefined;
    const x = toChannelsLast(input(inputs, 'x'));
    return { out: toChannelsFirst(model.forward(x, input(inputs, 'timesteps'), labels ? { labels } : {})) };
  },
};

/** The same with text. */
export const uvitTextToImage: Adapter<UViT> = {
  classes: ['UViT (libs/uvit_t2i)'],
  build: (config) => new UViT(uvitTextToImageFromOriginal(config)),
  run: (model, inputs) => {
    const x = toChannelsLast(input(inputs, 'x'));
    const out = model.forward(x, input(inputs, 'timesteps'), { context: input(inputs, 'context') });
    return { out: toChannelsFirst(out) };
  },
};
