import type { AutoencoderKL, AutoencoderTiny } from '@mezzotint/autoencoders';
import type { Sampler } from '@mezzotint/schedulers';
import type { UNet2DCondition } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import { klCodec, type LatentRgb, tinyCodec } from '../../codec.js';
import type { Stage } from '../../stage.js';
import {
  encodeSd,
  encodeSdxl,
  type SdConditions,
  type TextEncoders,
  withGuidance,
  withSmallPicture,
} from './conditions.js';

/** What a latent diffusion model with prompts is made of. */
export interface SdModel {
  readonly unet: UNet2DCondition;
  readonly vae: AutoencoderKL | AutoencoderTiny;
  readonly texts: TextEncoders;
  readonly sampler: Sampler;
  /** Prefix of the names of its parts: '' or `refiner/`. */
  readonly prefix: string;
  /** Adds noise to the small picture of an upscaler. */
  readonly lowResolution?: Sampler;
}

/** Colours of the latent channels of Stable Diffusion's autoencoder: the map of K. Turner (discuss.huggingface.co, 23204). */
export const RGB_SD: LatentRgb = {
  rows: [
    [0.298, 0.207, 0.208],
    [0.187, 0.286, 0.173],
    [-0.158, 0.189, 0.264],
    [-0.184, -0.271, -0.473],
  ],
  bias: [0, 0, 0],
};

/** The same of SDXL's, as ComfyUI has it (comfy/latent_formats.py). */
const RGB_SDXL: LatentRgb = {
  rows: [
    [0.3651, 0.4232, 0.4341],
    [-0.2533, -0.0042, 0.1068],
    [0.1076, 0.1111, -0.0362],
    [-0.3165, -0.2492, -0.2188],
  ],
  bias: [0.1084, -0.0175, -0.0011],
};

/** The stage of a UNet with prompts. */
export function sdStage(name: string, model: SdModel, start: Stage['start'] = 'noise'): Stage<SdConditions> {
  const { unet, vae, texts, sampler, prefix, lowResolution } = model;
  const at = (part: string) => `${prefix}${part}`;
  const { first, second } = texts;
  const codec = isTiny(vae) ? tinyCodec(vae, [at('vae')]) : klCodec(vae, second ? RGB_SDXL : RGB_SD, [at('vae')]);
  const { channels, downscale } = codec;
  return {
    name,
    sampler,
    codec,
    parts: {
      encode: [...(first ? [at('text_encoder')] : []), ...(second ? [at('text_encoder_2')] : [])],
      sample: [at('unet')],
    },
    start,
    shape: ({ height, width }) => [height / downscale, width / downscale, channels],
    encodesTextOnly: lowResolution === undefined,
    encode: (batch, context) => {
      const prompts = second ? encodeSdxl(texts, batch, context.note) : encodeSd(texts, batch, context.note);
      if (lowResolution) return withSmallPicture(prompts, batch, context, lowResolution, downscale);
      return unet.config.timeCondProjDim === null ? prompts : withGuidance(prompts, batch, unet.config.timeCondProjDim);
    },
    network:
      ({ inpainting }) =>
      (x, time, { small, ...conditions }) =>
        tf.tidy(() => {
          const more = small ? [small] : inpainting === null ? [] : [inpainting.mask, inpainting.masked];
          return unet.forward(more.length === 0 ? x : tf.concat([x, ...more], 3), time, conditions);
        }),
    module: unet,
    negatives: unet.config.timeCondProjDim === null,
    spreadsStrength: unet.config.timeCondProjDim !== null,
    seesMask: unet.config.inChannels === 2 * channels + 1,
  };
}

/** Whether a VAE is a tiny one, by its configuration: its class may come from another copy of the package. */
function isTiny(vae: AutoencoderKL | AutoencoderTiny): vae is AutoencoderTiny {
  return 'latentMagnitude' in vae.config;
}

/** Numbers that a UNet takes beside pooled text of this width. */
export function numbersOf({ config: { textTime } }: UNet2DCondition, projection: number): number {
  return textTime === null ? 0 : (textTime.width - projection) / textTime.numberWidth;
}
