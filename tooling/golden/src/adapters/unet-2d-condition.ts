import { UNet2DCondition, type UNet2DConditionInputs, unet2dConditionFromDiffusers } from '@mezzotint/unet';
import type { Adapter } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** Names of the reference's inputs, and ours; its `class_labels` are two of ours. */
const optional = {
  text_embeds: 'pooled',
  time_ids: 'timeIds',
  timestep_cond: 'timeCondition',
} as const;

/** diffusers' conditional UNet: Stable Diffusion 1.x, 2.x, XL and its refiner. */
export const unet2dCondition: Adapter<UNet2DCondition> = {
  classes: ['UNet2DConditionModel'],
  build: (config) => new UNet2DCondition(unet2dConditionFromDiffusers(config)),
  run: (model, inputs) => {
    const more = Object.entries(optional).flatMap(([theirs, ours]) =>
      inputs[theirs] === undefined ? [] : [[ours, inputs[theirs]]],
    );
    const x = toChannelsLast(input(inputs, 'sample'));
    const classes = inputs.class_labels;
    const conditions: UNet2DConditionInputs = {
      context: input(inputs, 'encoder_hidden_states'),
      ...Object.fromEntries(more),
      ...(classes && { [classes.rank === 1 ? 'labels' : 'vector']: classes }),
    };
    return { sample: toChannelsFirst(model.forward(x, input(inputs, 'timestep'), conditions)) };
  },
};
