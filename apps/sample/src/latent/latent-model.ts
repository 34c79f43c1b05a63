import type { AutoencoderKL } from '@mezzotint/autoencoders';
import { InvalidFileError } from '@mezzotint/core';
import type { Sampler } from '@mezzotint/schedulers';
import {
  type ClipTextModel,
  type ClipTextModelWithProjection,
  encodeSdPrompts,
  encodeSdxlPrompts,
  type TextEncoder,
} from '@mezzotint/text-encoders';
import type { UNet2DCondition } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import { halves, type PictureSize, type PromptPair, type Prompts } from './condition.js';

/** What a latent diffusion model is made of. */
export interface LatentParts {
  readonly unet: UNet2DCondition;
  readonly vae: AutoencoderKL;
  readonly sampler: Sampler;
  /** The first encoder: absent in SDXL's refiner. */
  readonly first?: TextEncoder<ClipTextModel | ClipTextModelWithProjection>;
  /** SDXL's second encoder: absent in Stable Diffusion 1 and 2. */
  readonly second?: TextEncoder<ClipTextModelWithProjection>;
  /** No negative prompt means zeros, not the empty prompt (SDXL's base). */
  readonly forceZerosForEmptyPrompt: boolean;
  /** The size of the pictures that it was trained with. */
  readonly nativeSize: PictureSize;
}

/** A latent diffusion model that takes prompts. */
export interface LatentModel extends LatentParts {
  /** The prompts' conditions; the caller disposes them. */
  encode(prompts: Prompts, size: PictureSize): PromptPair;
  /** Frees the weights of the text encoders and with them `encode`. */
  disposeText(): void;
  dispose(): void;
}

/** The aesthetic scores that the refiner is told: of what is wanted, and of what is not. Podell et al. 2023, section 2.5. */
const SCORES = [6, 2.5] as const;

/**
 * @param origin names the model in errors
 * @throws InvalidFileError when ADMUNet, VAE and text encoders do not belong together
 */
export function latentModel(parts: LatentParts, origin: string): LatentModel {
  const { unet, vae, first, second } = parts;
  const { textTime, classes, timeCondProjDim } = unet.config;
  const contextWidth = unet.config.textWidth ?? unet.config.contextWidth;
  const width = (first?.encoder.config.width ?? 0) + (second?.encoder.config.width ?? 0);
  const problems: string[] = [];
  if (width !== contextWidth) problems.push(`the text encoders give ${width} channels, the UNet takes ${contextWidth}`);
  if (classes !== null)
    problems.push(
      'the UNet asks for classes beside the prompt (as the x4 upscaler and unCLIP do), which a prompt has not',
    );
  if (timeCondProjDim !== null) {
    problems.push('the UNet takes the guidance scale as an input (as LCM does), which is not given here yet');
  }
  if (unet.config.outChannels !== vae.config.latentChannels) {
    problems.push(`the VAE has ${vae.config.latentChannels} channels, the UNet ${unet.config.outChannels}`);
  }
  if ((second === undefined) !== (textTime === null)) {
    problems.push('a UNet with pooled text needs text_encoder_2, another has no place for it');
  }
  const projection = second?.encoder.text_projection.weight.shape[0] ?? 0;
  const numbers = textTime === null ? 0 : (textTime.width - projection) / textTime.numberWidth;
  if (numbers !== 0 && numbers !== 5 && numbers !== 6) {
    problems.push(`the UNet takes ${numbers} numbers beside the pooled text; known are 6 (SDXL) and 5 (its refiner)`);
  }
  for (const { encoder, tokenizer } of [first, second].filter((text) => text !== undefined)) {
    const { vocabSize } = encoder.config;
    const last = Math.max(tokenizer.start ?? 0, tokenizer.end, tokenizer.pad);
    if (last >= vocabSize)
      problems.push(
        `the tokenizer has a token ${last}, the text encoder ${vocabSize} tokens: another tokenizer is needed`,
      );
  }
  if (problems.length > 0) throw new InvalidFileError(origin, problems.join('; '));
  const texts = [first, second].filter((text) => text !== undefined);
  const disposeText = () => {
    for (const { encoder } of texts) encoder.dispose();
  };
  return {
    ...parts,
    encode: (prompts, size) => (second ? encodeXl(parts, second, prompts, size, numbers) : encodeSd(parts, prompts)),
    disposeText,
    dispose: () => {
      disposeText();
      unet.dispose();
      vae.dispose();
    },
  };
}

function encodeSd({ first }: LatentParts, { prompts, negative }: Prompts): PromptPair {
  const unwanted = prompts.map(() => negative ?? '');
  const context = encodeSdPrompts(first as TextEncoder<ClipTextModel>, [...prompts, ...unwanted]);
  const [wanted, free] = halves({ context });
  return { wanted: wanted!, unwanted: free! };
}

function encodeXl(
  { first, forceZerosForEmptyPrompt }: LatentParts,
  bigG: TextEncoder<ClipTextModelWithProjection>,
  { prompts, negative }: Prompts,
  { height, width }: PictureSize,
  numbers: number,
): PromptPair {
  const nothing = negative ?? (forceZerosForEmptyPrompt ? null : '');
  const all = [...prompts, ...prompts.map(() => nothing)];
  const encoded = encodeSdxlPrompts({ ...(first && { clipL: first }), bigG }, all);
  const [wanted, unwanted] = halves(encoded).map((half, i) => {
    // Original size, crop at the corner, and target size or score.
    const row = [height, width, 0, 0, ...(numbers === 6 ? [height, width] : [SCORES[i]!])];
    return {
      ...half,
      timeIds: tf.tensor2d(
        prompts.flatMap(() => row),
        [prompts.length, numbers],
      ),
    };
  });
  return { wanted: wanted!, unwanted: unwanted! };
}
