import { DiT, type DiTConfig, ditFromDiffusers } from '@mezzotint/dit';
import { ditKeyMap, translate } from '@mezzotint/weights';
import type { Adapter } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** diffusers' DiT, whose goldens have other embedders in each block. */
export const ditDiffusers: Adapter<DiT> = {
  classes: ['DiTTransformer2DModel'],
  build: (config) => new DiT(perBlock(config)),
  translate: (source, config) => {
    const { imageSize, patchSize, width, embedders } = perBlock(config);
    const grid = { side: imageSize / patchSize, width };
    return translate(source, ditKeyMap(source.tensors.keys(), 'right', { grid, embedders }), 'right');
  },
  run: (model, inputs) => {
    const x = toChannelsLast(input(inputs, 'hidden_states'));
    const out = model.forward(x, input(inputs, 'timestep'), { labels: input(inputs, 'class_labels') });
    return { sample: toChannelsFirst(out) };
  },
};

function perBlock(config: unknown): DiTConfig {
  return { ...ditFromDiffusers(config), embedders: 'per-block' };
}
