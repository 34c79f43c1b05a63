import { AutoencoderKL, autoencoderKLFromShapes } from '@mezzotint/autoencoders';
import { type Sampler, samplerFromDiffusers } from '@mezzotint/schedulers';
import {
  type ClipTextConfig,
  ClipTextModel,
  ClipTextModelWithProjection,
  clipTextFromShapes,
} from '@mezzotint/text-encoders';
import { UNet2DCondition, unet2dConditionFromShapes } from '@mezzotint/unet';
import { type Component, type FitOptions, openSingleFile } from '@mezzotint/weights';
import { readWeights } from '@mezzotint/weights/node';
import { type Family, familyOf, type Prediction } from './family.js';
import { latentModel } from './latent-model.js';
import { tokenizersFor } from './open-tokenizer.js';
import type { Part, UnloadedModel } from './unloaded.js';

/** What one file does not say. */
export interface FileOptions extends FitOptions {
  /** Folder or tokenizer.json with the words; when absent those beside the file, else CLIP's published ones. */
  readonly tokenizer?: string | undefined;
  readonly prediction?: Prediction | undefined;
}

/**
 * Opens one file with all of Stable Diffusion 1, 2, XL or XL's refiner, also for inpainting, in any layout. Its
 * configurations follow from its names and shapes, the rest from what it is: see `family.ts`.
 *
 * @throws InvalidFileError or InvalidArgumentError when it is another model, or a part is missing
 */
export async function openFile(
  path: string,
  { tokenizer, prediction, report }: FileOptions = {},
): Promise<UnloadedModel> {
  const source = await readWeights(path);
  try {
    const file = openSingleFile(source, { report });
    const family = await familyOf({ file, source }, prediction);
    const component = (name: 'unet' | 'vae' | 'text_encoder' | 'text_encoder_2') => file.components.get(name);
    const unet = new UNet2DCondition(unet2dConditionFromShapes(component('unet')!.weights.tensors));
    const xl = unet.config.textTime !== null;
    const scale = { scalingFactor: xl ? 0.13025 : 0.18215, shiftFactor: 0 };
    const vae = new AutoencoderKL(autoencoderKLFromShapes(component('vae')!.weights.tensors, scale));
    const [one, two] = [component('text_encoder'), component('text_encoder_2')];
    const first = one && new ClipTextModel(textConfig(one));
    const second = two && new ClipTextModelWithProjection(textConfig(two) as ClipTextConfig & { projection: number });
    const words = await tokenizersFor(path, tokenizer);
    // OpenAI's encoder is filled up with the end, OpenCLIP's with `!`.
    const padded = ({ layout }: Component) => words(layout === 'openclip' ? { pad: '!' } : {});
    const side = nativeSide(family) * vae.downscale;
    const model = latentModel(
      {
        unet,
        vae,
        sampler: samplerOf(family),
        ...(first && { first: { encoder: first, tokenizer: padded(one) } }),
        ...(second && { second: { encoder: second, tokenizer: padded(two) } }),
        nativeSize: { height: side, width: side },
        forceZerosForEmptyPrompt: family.name === 'SDXL',
      },
      path,
    );
    const modules = { unet, vae, ...(first && { text_encoder: first }), ...(second && { text_encoder_2: second }) };
    const parts = Object.entries(modules).map(
      ([name, module]): Part => ({
        name: name as Part['name'],
        module,
        weights: component(name as Part['name'])!.weights,
      }),
    );
    return { model, parts, taken: describe(family), dropped: file.dropped, close: () => source.close() };
  } catch (error) {
    source.close();
    throw error;
  }
}

function textConfig({ layout, weights }: Component): ClipTextConfig {
  return clipTextFromShapes(weights.tensors, layout === 'openclip' ? 'erf' : 'quick');
}

/** Latent pixels a side of the pictures that a family was trained with. */
function nativeSide({ name, prediction }: Family): number {
  if (name === 'SDXL' || name === "SDXL's refiner") return 128;
  return name === 'Stable Diffusion 2' && prediction === 'v' ? 96 : 64;
}

/** The chain that all of them were trained on. Rombach et al. 2022. */
const CHAIN = {
  num_train_timesteps: 1000,
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  beta_end: 0.012,
  steps_offset: 1,
};

/** The sampler that the published folder of a family has, which is what diffusers takes for a single file. */
function samplerOf({ name, prediction, zeroTerminalSnr }: Family): Sampler {
  const chain = { ...CHAIN, prediction_type: prediction === 'v' ? 'v_prediction' : 'epsilon' };
  const euler = { ...chain, _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'leading' };
  if (zeroTerminalSnr) {
    // Only trailing times begin where nothing is left of the picture. Lin et al. 2024, section 3.3.
    return samplerFromDiffusers({ ...euler, rescale_betas_zero_snr: true, timestep_spacing: 'trailing' });
  }
  if (name === 'SDXL' || name === "SDXL's refiner") return samplerFromDiffusers(euler);
  if (prediction === 'v') {
    const ddim = { ...chain, _class_name: 'DDIMScheduler', clip_sample: false, set_alpha_to_one: false };
    return samplerFromDiffusers(ddim);
  }
  const pndm = { ...chain, _class_name: 'PNDMScheduler', skip_prk_steps: true, set_alpha_to_one: false };
  return samplerFromDiffusers(pndm);
}

function describe({ name, inpainting, prediction, because, zeroTerminalSnr }: Family): string {
  const what = `${name}${inpainting ? ' for inpainting' : ''}`;
  const ends = zeroTerminalSnr ? '; its chain ends in pure noise (it has a tensor ztsnr)' : '';
  return `${what}, predicting ${prediction === 'v' ? 'v' : 'the noise'} (${because})${ends}`;
}
