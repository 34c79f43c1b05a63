import { AutoencoderKL, autoencoderKLFromShapes } from '@mezzotint/autoencoders';
import { type Sampler, samplerFromDiffusers } from '@mezzotint/schedulers';
import {
  type ClipTextConfig,
  ClipTextModel,
  ClipTextModelWithProjection,
  clipTextFromShapes,
} from '@mezzotint/text-encoders';
import { UNet2DCondition, unet2dConditionFromShapes } from '@mezzotint/unet';
import type { Component } from '@mezzotint/weights';
import type { Candidate, OpenContext } from '../../family.js';
import { clipTokenizersFor } from '../../tokenizers.js';
import { type OpenedSd, partNamed } from './folder.js';
import { type RecognisedFile, recogniseFile } from './recognise-file.js';
import { checkSdModel, numbersOf } from './stage.js';

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
  const component = (name: 'unet' | 'vae' | 'text_encoder' | 'text_encoder_2') => file.components.get(name);
  const unet = new UNet2DCondition(unet2dConditionFromShapes(component('unet')!.weights.tensors));
  const scale = { scalingFactor: unet.config.textTime === null ? 0.18215 : 0.13025, shiftFactor: 0 };
  const vae = new AutoencoderKL(autoencoderKLFromShapes(component('vae')!.weights.tensors, scale));
  const [one, two] = [component('text_encoder'), component('text_encoder_2')];
  const first = one && new ClipTextModel(textConfig(one));
  const second = two && new ClipTextModelWithProjection(textConfig(two) as ClipTextConfig & { projection: number });
  const given = options.tokenizer === undefined ? undefined : context.files(options.tokenizer);
  const tokenizers = await clipTokenizersFor(files.beside?.() ?? null, given);
  // OpenAI's encoder is filled up with the end, OpenCLIP's with `!`.
  const padded = ({ layout }: Component) => tokenizers(layout === 'openclip' ? { pad: '!' } : {});
  const texts = {
    ...(first && { first: { encoder: first, tokenizer: padded(one) } }),
    ...(second && { second: { encoder: second, tokenizer: padded(two) } }),
    forceZerosForEmptyPrompt: found.name === 'SDXL',
    numbers: numbersOf(unet, second?.text_projection.weight.shape[0] ?? 0),
  };
  checkSdModel(files.name, { unet, vae, texts });
  const modules = { unet, vae, ...(first && { text_encoder: first }), ...(second && { text_encoder_2: second }) };
  const side = nativeSide(found) * vae.downscale;
  return {
    model: { unet, vae, texts, sampler: samplerOf(found), prefix },
    parts: Object.entries(modules).map(([name, module]) => ({
      ...partNamed(name, module, component(name as 'unet')!.weights),
      name: `${prefix}${name}`,
    })),
    description: describe(found),
    dropped: file.dropped,
    size: { height: side, width: side },
    close: () => {},
  };
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
