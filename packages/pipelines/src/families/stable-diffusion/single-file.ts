import { AutoencoderKL, autoencoderKLFromShapes } from '@mezzotint/autoencoders';
import { type Sampler, samplerFromDiffusers } from '@mezzotint/schedulers';
import { type ClipTextConfig, clipTextFromShapes } from '@mezzotint/text-encoders';
import { unet2dConditionFromShapes } from '@mezzotint/unet';
import type { Component, ComponentName } from '@mezzotint/weights';
import type { Candidate, OpenContext } from '../../family.js';
import { clipTokenizersFor } from '../../tokenizers.js';
import { assemble, type TextSource } from './assemble.js';
import type { OpenedSd } from './folder.js';
import { type RecognisedFile, recogniseFile } from './recognise-file.js';

/**
 * Opens one file with all of Stable Diffusion 1, 2, XL or XL's refiner, also for inpainting, in any layout. Its
 * configurations follow from its names and shapes, the rest from what it is: see `recognise-file.ts`.
 *
 * @throws InvalidFileError or InvalidArgumentError when it is another model, or a part is missing
 */
export async function openSdFile(
  { files, single, source }: Candidate,
  context: OpenContext,
  prefix: string,
): Promise<OpenedSd> {
  const { options } = context;
  const file = single!;
  const found = await recogniseFile({ file, source: source! }, options.prediction);
  const component = (name: string) => file.components.get(name as ComponentName);
  const unet = unet2dConditionFromShapes(component('unet')!.weights.tensors);
  const scale = { scalingFactor: unet.textTime === null ? 0.18215 : 0.13025, shiftFactor: 0 };
  const vae = new AutoencoderKL(autoencoderKLFromShapes(component('vae')!.weights.tensors, scale));
  const given = options.tokenizer === undefined ? undefined : context.files(options.tokenizer);
  const tokenizers = await clipTokenizersFor(files.beside?.() ?? null, given);
  const text = (name: string): TextSource | undefined => {
    const part = component(name);
    // OpenAI's encoder is filled up with the end, OpenCLIP's with `!`.
    const pad = part?.layout === 'openclip' ? { pad: '!' } : {};
    return part && { config: textConfig(part), tokenizer: (added) => tokenizers({ ...pad, added }) };
  };
  const opened = await assemble(
    {
      origin: files.name,
      prefix,
      unet,
      vae,
      first: text('text_encoder'),
      second: text('text_encoder_2'),
      forceZerosForEmptyPrompt: found.name === 'SDXL',
      sampler: samplerOf(found),
      weights: (name) => component(name)!.weights,
    },
    context,
  );
  const side = nativeSide(found) * vae.downscale;
  const size = { height: side, width: side };
  return { ...opened, description: describe(found), dropped: file.dropped, size, maxNoiseLevel: 0, close: () => {} };
}

function textConfig({ layout, weights }: Component): ClipTextConfig {
  return clipTextFromShapes(weights.tensors, layout === 'openclip' ? 'erf' : 'quick');
}

/** Latent pixels a side of the pictures that a model was trained with. */
function nativeSide({ name, prediction }: RecognisedFile): number {
  if (name === 'SDXL' || name === "SDXL's refiner") return 128;
  return name === 'Stable Diffusion 2' && prediction === 'v' ? 96 : 64;
}

/** The forward process that all of them were trained on. Rombach et al. 2022. */
const PROCESS = {
  num_train_timesteps: 1000,
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  beta_end: 0.012,
  steps_offset: 1,
};

/** The sampler that the published folder of a model has, which is what diffusers takes for a single file. */
function samplerOf({ name, prediction, zeroTerminalSnr }: RecognisedFile): Sampler {
  const process = { ...PROCESS, prediction_type: prediction === 'v' ? 'v_prediction' : 'epsilon' };
  const euler = { ...process, _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'leading' };
  if (zeroTerminalSnr) {
    // Only trailing times begin where nothing is left of the picture. Lin et al. 2024, section 3.3.
    return samplerFromDiffusers({ ...euler, rescale_betas_zero_snr: true, timestep_spacing: 'trailing' });
  }
  if (name === 'SDXL' || name === "SDXL's refiner") return samplerFromDiffusers(euler);
  if (prediction === 'v') {
    const ddim = { ...process, _class_name: 'DDIMScheduler', clip_sample: false, set_alpha_to_one: false };
    return samplerFromDiffusers(ddim);
  }
  const pndm = { ...process, _class_name: 'PNDMScheduler', skip_prk_steps: true, set_alpha_to_one: false };
  return samplerFromDiffusers(pndm);
}

function describe({ name, inpainting, prediction, because, zeroTerminalSnr }: RecognisedFile): string {
  const what = `${name}${inpainting ? ' for inpainting' : ''}`;
  const ends = zeroTerminalSnr ? '; its forward process ends in pure noise (it has a tensor ztsnr)' : '';
  return `${what}, predicting ${prediction === 'v' ? 'v' : 'the noise'} (${because})${ends}`;
}
