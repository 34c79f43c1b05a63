import type { AutoencoderKL } from '@mezzotint/autoencoders';
import { InvalidFileError } from '@mezzotint/core';
import type { Sampler } from '@mezzotint/schedulers';
import type { UNet2DCondition } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import { klCodec, type LatentRgb } from '../../codec.js';
import type { Stage } from '../../stage.js';
import { encodeSd, encodeSdxl, type SdConditions, type TextEncoders } from './conditions.js';

/** What a latent diffusion model with prompts is made of. */
export interface SdModel {
  readonly unet: UNet2DCondition;
  readonly vae: AutoencoderKL;
  readonly texts: TextEncoders;
  readonly sampler: Sampler;
  /** Prefix of the names of its parts: '' or `refiner/`. */
  readonly prefix: string;
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
export function sdStage(
  name: string,
  { unet, vae, texts, sampler, prefix }: SdModel,
  start: Stage['start'] = 'noise',
): Stage<SdConditions> {
  const at = (part: string) => `${prefix}${part}`;
  const { first, second } = texts;
  const codec = klCodec(vae, second ? RGB_SDXL : RGB_SD, [at('vae')]);
  return {
    name,
    sampler,
    codec,
    parts: {
      encode: [...(first ? [at('text_encoder')] : []), ...(second ? [at('text_encoder_2')] : [])],
      sample: [at('unet')],
    },
    start,
    shape: ({ height, width }) => [height / codec.downscale, width / codec.downscale, codec.channels],
    encode: (batch) =>
      (second ? encodeSdxl(texts, batch) : encodeSd(texts, batch)) as ReturnType<Stage<SdConditions>['encode']>,
    network:
      ({ inpainting }) =>
      (x, time, conditions) =>
        tf.tidy(() => {
          const input = inpainting === null ? x : tf.concat([x, inpainting.mask, inpainting.masked], 3);
          return unet.forward(input, time, conditions);
        }),
    seesMask: unet.config.inChannels === 2 * codec.channels + 1,
  };
}

/**
 * Throws an InvalidFileError when ADMUNet, VAE, text encoders and tokenizers do not belong together.
 *
 * @param origin names the model in errors
 */
export function checkSdModel(
  origin: string,
  { unet, vae, texts: { first, second } }: Omit<SdModel, 'sampler' | 'prefix'>,
): void {
  const { textTime, classes, timeCondProjDim, inChannels, outChannels } = unet.config;
  const { latentChannels } = vae.config;
  const contextWidth = unet.config.textWidth ?? unet.config.contextWidth;
  const width = (first?.encoder.config.width ?? 0) + (second?.encoder.config.width ?? 0);
  const problems: string[] = [];
  if (width !== contextWidth) problems.push(`the text encoders give ${width} channels, the UNet takes ${contextWidth}`);
  if (classes !== null) problems.push('the UNet asks for classes beside the prompt, as unCLIP does');
  if (timeCondProjDim !== null) problems.push('the UNet takes the guidance scale as an input, as LCM does');
  if (outChannels !== latentChannels)
    problems.push(`the VAE has ${latentChannels} channels, the UNet gives ${outChannels}`);
  if (inChannels !== latentChannels && inChannels !== 2 * latentChannels + 1)
    problems.push(`the UNet takes ${inChannels} channels; known are latent images, and those with a mask`);
  if ((second === undefined) !== (textTime === null))
    problems.push('a UNet with pooled text needs text_encoder_2, another has no place for it');
  const numbers = numbersOf(unet, second?.encoder.text_projection.weight.shape[0] ?? 0);
  if (numbers !== 0 && numbers !== 5 && numbers !== 6)
    problems.push(`the UNet takes ${numbers} numbers beside the pooled text; known are 6 (SDXL) and 5 (its refiner)`);
  for (const { encoder, tokenizer } of [first, second].filter((text) => text !== undefined)) {
    const { vocabSize } = encoder.config;
    const last = Math.max(tokenizer.start ?? 0, tokenizer.end, tokenizer.pad);
    if (last >= vocabSize)
      problems.push(
        `the tokenizer has a token ${last}, the text encoder ${vocabSize} tokens: another tokenizer is needed`,
      );
  }
  if (problems.length > 0) throw new InvalidFileError(origin, problems.join('; '));
}

/** Numbers that a UNet takes beside pooled text of this width. */
export function numbersOf({ config: { textTime } }: UNet2DCondition, projection: number): number {
  return textTime === null ? 0 : (textTime.width - projection) / textTime.numberWidth;
}
