import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AutoencoderKL, AutoencoderTiny } from '@mezzotint/autoencoders';
import { InvalidArgumentError, type Module, type NoiseLevel } from '@mezzotint/core';
import {
  createPipeline,
  diskFiles,
  fitParts,
  openClipTokenizer,
  openDefinition,
  type Pipeline,
  stableDiffusion,
} from '@mezzotint/pipelines/node';
import { epsilon, vPrediction, x0 } from '@mezzotint/schedulers';
import {
  type AddedToken,
  type ClipTextModel,
  encodeSdPrompts,
  type TextEncoder,
  type Tokenizer,
} from '@mezzotint/text-encoders';
import type { Prediction } from '@mezzotint/training';
import type { UNet2DCondition } from '@mezzotint/unet';
import { readJson } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';

/** A Stable Diffusion 1 or 2 with its weights, in parts that can be trained. */
export interface StableDiffusion {
  readonly unet: UNet2DCondition;
  readonly vae: AutoencoderKL | AutoencoderTiny;
  readonly textEncoder: ClipTextModel;
  /** Its tokenizer, with more tokens. */
  tokenizer(added: readonly AddedToken[]): Promise<Tokenizer>;
  readonly prediction: Exclude<Prediction, 'flow'>;
  /** Noise levels of the forward process by time, 0 to T - 1. */
  readonly levels: readonly NoiseLevel[];
  /** Pixels a side that it was made for. */
  readonly size: number;
  /** What samples with the weights as they are at the time, prompts being read with this tokenizer. */
  pipeline(tokenizer: Tokenizer): Pipeline;
  /** Lines for people: what was left out. */
  readonly notes: readonly string[];
}

/** Whether a path is a folder of diffusers with a UNet for prompts. */
export function isStableDiffusion(path: string): boolean {
  const file = join(path, 'model_index.json');
  if (!existsSync(file)) return false;
  const { unet } = readJson(file) as { readonly unet?: readonly unknown[] };
  return Array.isArray(unet) && unet[1] === 'UNet2DConditionModel';
}

/** Blocks of the UNet that may recompute themselves on the way back. */
export const UNET_BLOCKS = ['down_blocks', 'up_blocks'].flatMap((side) => [
  `${side}.*.resnets.*`,
  `${side}.*.attentions.*`,
]);

/** Pixels a side that a model was made for. */
export async function nativeSizeOf(path: string): Promise<number> {
  const context = { options: {}, files: diskFiles, note: () => undefined };
  const definition = await openDefinition(diskFiles(path), [stableDiffusion], context);
  definition.close();
  return definition.defaults.height;
}

/**
 * Opens a folder of Stable Diffusion 1 or 2 and reads all weights.
 *
 * @throws InvalidArgumentError for other models (SDXL, inpainting, upscalers)
 */
export async function openStableDiffusion(path: string): Promise<StableDiffusion> {
  if (!isStableDiffusion(path)) {
    throw new InvalidArgumentError('model', `${path}: expected a folder of diffusers of Stable Diffusion 1 or 2`);
  }
  const files = diskFiles(path);
  const notes: string[] = [];
  const note = (line: string) => notes.push(line);
  const definition = await openDefinition(files, [stableDiffusion], { options: {}, files: diskFiles, note });
  try {
    const parts = fitParts(definition.parts, { strict: false, note });
    const part = <M extends Module>(name: string) => parts.find((one) => one.name === name)?.module as M | undefined;
    const [unet, vae, textEncoder] = [
      part<UNet2DCondition>('unet')!,
      part<AutoencoderKL | AutoencoderTiny>('vae')!,
      part<ClipTextModel>('text_encoder'),
    ];
    const stage = definition.stages[0]!;
    if (textEncoder === undefined || part('text_encoder_2') !== undefined) {
      throw new InvalidArgumentError(
        'model',
        `${path}: expected Stable Diffusion 1 or 2, got ${definition.description} with other text encoders, which is not trained here`,
      );
    }
    if (unet.config.inChannels !== vae.config.latentChannels || unet.config.classes !== null) {
      throw new InvalidArgumentError(
        'model',
        `${path}: its UNet sees more than latent images (inpainting, upscaling), which is not trained here`,
      );
    }
    const prediction = predictionOf(stage.sampler.parameterisation);
    if (prediction === undefined)
      throw new InvalidArgumentError('model', `${path}: predicts neither noise nor v nor images`);
    for (const { module, weights } of parts) await module.load(weights);
    const sampling = {
      ...definition,
      // The weights are in the modules already, and stay.
      close: () => undefined,
    };
    return {
      ...{ unet, vae, textEncoder, prediction, notes },
      tokenizer: (added) => openClipTokenizer(files, 'tokenizer', added),
      levels: Array.from({ length: stage.sampler.timeAt(1) }, (_, time) => stage.sampler.levelAt(time)),
      size: definition.defaults.height,
      pipeline(tokenizer) {
        const text: TextEncoder<ClipTextModel> = { encoder: textEncoder, tokenizer };
        const encode: typeof stage.encode = ({ images }) =>
          tf.tidy(() => ({
            positive: {
              context: encodeSdPrompts(
                text,
                images.map(({ prompt }) => prompt),
                PLAIN,
              ),
            },
            negative: {
              context: encodeSdPrompts(
                text,
                images.map(({ negative }) => negative ?? ''),
                PLAIN,
              ),
            },
          }));
        return createPipeline({ ...sampling, stages: [{ ...stage, encode }], parts }, { load: async () => undefined });
      },
    };
  } finally {
    definition.close();
  }
}

/** Prompts as training has them: no weights of words, 77 tokens. */
export const PLAIN = { syntax: 'plain', maxChunks: 1 } as const;

function predictionOf(parameterisation: unknown): StableDiffusion['prediction'] | undefined {
  return (
    [
      ['eps', epsilon],
      ['v', vPrediction],
      ['x0', x0],
    ] as const
  ).find(([, one]) => one === parameterisation)?.[0];
}
