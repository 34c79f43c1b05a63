import { UNet2D, unet2dFromDiffusers } from '@mezzotint/unet';
import type { Adapter } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** diffusers' unconditional UNet. */
export const unet2d: Adapter<UNet2D> = {
  classes: ['UNet2DModel'],
  build: (config) => new UNet2D(unet2dFromDiffusers(config)),
  run: (model, inputs) => {
    const x = toChannelsLast(input(inputs, 'sample'));
    return { sample: toChannelsFirst(model.forward(x, input(inputs, 'timestep'))) };
  },
};
