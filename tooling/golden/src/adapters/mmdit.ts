import {
  Flux,
  fluxFromDiffusers,
  fluxFromOriginal,
  MMDiT,
  mmditFromDiffusers,
  mmditFromOriginal,
} from '@mezzotint/mmdit';
import { fluxKeyMap, sd3KeyMap, translate, withoutPrefix } from '@mezzotint/weights';
import type * as tf from '@tensorflow/tfjs-core';
import type { Adapter, NamedTensors } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** The original Stable Diffusion 3 and 3.5; their files have a prefix. */
export const mmdit: Adapter<MMDiT> = {
  classes: ['MMDiT', 'MMDiTX'],
  build: (config) => new MMDiT(mmditFromOriginal(config)),
  translate: (source) => withoutPrefix(source, 'model.diffusion_model.'),
  run: (model, inputs) => {
    const x = toChannelsLast(input(inputs, 'x'));
    const conditions = { context: input<tf.Tensor3D>(inputs, 'context'), pooled: input<tf.Tensor2D>(inputs, 'y') };
    return { out: toChannelsFirst(model.forward(x, input(inputs, 't'), conditions)) };
  },
};

/** diffusers' Stable Diffusion 3 and 3.5. */
export const mmditDiffusers: Adapter<MMDiT> = {
  classes: ['SD3Transformer2DModel'],
  build: (config) => new MMDiT(mmditFromDiffusers(config)),
  translate: (source) => translate(source, sd3KeyMap(source.tensors.keys(), 'right'), 'right'),
  run: (model, inputs) => {
    const x = toChannelsLast(input(inputs, 'hidden_states'));
    const context = input<tf.Tensor3D>(inputs, 'encoder_hidden_states');
    const pooled = input<tf.Tensor2D>(inputs, 'pooled_projections');
    return { sample: toChannelsFirst(model.forward(x, input(inputs, 'timestep'), { context, pooled })) };
  },
};

/** The original FLUX.1, whose golden inputs are packed tokens. */
export const flux: Adapter<Flux> = {
  classes: ['Flux'],
  build: (config) => new Flux(fluxFromOriginal(config)),
  run: (model, inputs) => ({
    out: model.onTokens(input(inputs, 'img'), input(inputs, 'timesteps'), {
      context: input(inputs, 'txt'),
      pooled: input(inputs, 'y'),
      positions: { text: input(inputs, 'txt_ids'), image: input(inputs, 'img_ids') },
      ...guidanceOf(inputs),
    }),
  }),
};

/** diffusers' FLUX.1, the same. */
export const fluxDiffusers: Adapter<Flux> = {
  classes: ['FluxTransformer2DModel'],
  build: (config) => new Flux(fluxFromDiffusers(config)),
  translate: (source) => translate(source, fluxKeyMap(source.tensors.keys(), 'right'), 'right'),
  run: (model, inputs) => ({
    sample: model.onTokens(input(inputs, 'hidden_states'), input(inputs, 'timestep'), {
      context: input(inputs, 'encoder_hidden_states'),
      pooled: input(inputs, 'pooled_projections'),
      positions: { text: input(inputs, 'txt_ids'), image: input(inputs, 'img_ids') },
      ...guidanceOf(inputs),
    }),
  }),
};

function guidanceOf({ guidance }: NamedTensors) {
  return guidance === undefined ? {} : { guidance: guidance as tf.Tensor1D };
}
