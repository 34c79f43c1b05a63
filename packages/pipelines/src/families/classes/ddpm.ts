import { InvalidFileError, textOf } from '@mezzotint/core';
import { samplerFromDiffusers } from '@mezzotint/schedulers';
import { UNet2D, unet2d, unet2dFromDiffusers } from '@mezzotint/unet';
import { openComponent } from '@mezzotint/weights';
import type { Candidate, Family } from '../../family.js';
import { classSettings, classStage, numbered, shownLabels } from './stage.js';

/** Pipelines of diffusers around a `UNet2DModel`, with the steps that they take when none are asked for. */
const STEPS: Readonly<Record<string, number>> = { DDPMPipeline: 1000, DDIMPipeline: 50, PNDMPipeline: 50 };

/** The class of a part in `model_index.json`. */
export function classOf({ index }: Candidate, part: string): string | undefined {
  const entry = index?.[part];
  return Array.isArray(entry) && typeof entry[1] === 'string' ? entry[1] : undefined;
}

/** Folders of diffusers with an unconditional or class-conditional `UNet2DModel` of pixels: DDPM (Ho et al. 2020), DDIM. */
export const ddpm: Family = {
  name: 'DDPM',
  recognise: (candidate) =>
    classOf(candidate, 'unet') === 'UNet2DModel' && Object.hasOwn(STEPS, textOf(candidate.index!._class_name)),
  async open(candidate, { options }) {
    const { files, index } = candidate;
    // Folders of 2022 have the parts' files beside model_index.json.
    const unetAt = files.has('unet/config.json') ? 'unet/' : '';
    const schedulerAt = files.has('scheduler/scheduler_config.json') ? 'scheduler/' : '';
    const json = (await files.json(`${unetAt}config.json`)) as { readonly sample_size?: unknown };
    const config = unet2dFromDiffusers(json);
    const size = sizeOf(files.name, json.sample_size);
    if (config.outChannels !== config.inChannels) {
      throw new InvalidFileError(
        files.name,
        `the network gives ${config.outChannels} channels for images of ${config.inChannels}: a learned variance is not sampled so`,
      );
    }
    const scheduler = {
      ...((await files.json(`${schedulerAt}scheduler_config.json`)) as object),
      _class_name: classOf(candidate, 'scheduler'),
    };
    // Building checks the configuration, which the signature takes for granted.
    const module = new UNet2D(config);
    const signature = unet2d.signature(config);
    const file = await files.weights(unetAt === '' ? '' : 'unet', { variant: options.variant });
    try {
      const { weights } = openComponent(file);
      const classes = numbered(signature.classes);
      return {
        family: ddpm.name,
        description: `${textOf(index!._class_name)}, ${signature.classes ?? 'without'} classes`,
        stages: [
          classStage({
            ...{ name: 'unet', network: module, signature, codec: null, parts: ['unet'] },
            sampler: samplerFromDiffusers(scheduler),
          }),
        ],
        parts: [{ name: 'unet', module, weights }],
        takes: classSettings(signature),
        sizeUnit: signature.sizeMultiple ?? 1,
        defaults: { ...size, steps: STEPS[textOf(index!._class_name)]!, ...shownLabels(signature.classes) },
        ...(classes.length > 0 && { classes }),
        close: () => file.close(),
      };
    } catch (error) {
      file.close();
      throw error;
    }
  },
};

function sizeOf(name: string, given: unknown): { readonly height: number; readonly width: number } {
  const [height, width] = Array.isArray(given) ? given : [given, given];
  if (Number.isInteger(height) && Number.isInteger(width)) return { height, width };
  throw new InvalidFileError(name, `unet: sample_size: expected pixels a side, got ${JSON.stringify(given)}`);
}
