import { EfficientUNet, efficientUNetFromImagenPytorch } from '@mezzotint/efficient-unet';
import * as tf from '@tensorflow/tfjs-core';
import type { Adapter } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** Imagen's networks as imagen-pytorch has them, with text and with the null text. */
export const efficientUNet: Adapter<EfficientUNet> = {
  classes: ['Unet'],
  build: (config) => new EfficientUNet(efficientUNetFromImagenPytorch(config)),
  run: (model, inputs) => {
    const { text, lowRes } = model.config;
    const contextMask = input<tf.Tensor2D>(inputs, 'text_mask');
    const run = (mask: tf.Tensor2D) =>
      toChannelsFirst(
        model.forward(toChannelsLast(input(inputs, 'x')), input(inputs, 'time'), {
          ...(text && { context: input<tf.Tensor3D>(inputs, 'text_embeds'), contextMask: mask }),
          ...(lowRes && {
            lowRes: toChannelsLast(input(inputs, 'lowres_cond_img')),
            lowResTime: input<tf.Tensor1D>(inputs, 'lowres_noise_times'),
          }),
        }),
      );
    return { out: run(contextMask), out_null_text: run(tf.zerosLike(contextMask)) };
  },
};
