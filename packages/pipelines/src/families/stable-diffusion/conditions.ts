import {
  type ClipTextModel,
  type ClipTextModelWithProjection,
  encodeSdPrompts,
  encodeSdxlPrompts,
  type PromptSyntax,
  type TextEncoder,
} from '@mezzotint/text-encoders';
import * as tf from '@tensorflow/tfjs-core';
import type { Settings } from '../../request.js';
import type { Batch, EncodedBatch } from '../../stage.js';

/** What the UNet is given beside image and time. */
export type SdConditions = {
  /** States of the text encoders, `[N, 77 chunks, D]`. */
  readonly context: tf.Tensor3D;
  /** SDXL: pooled text of the second encoder, `[N, P]`. */
  readonly pooled: tf.Tensor2D;
  /** SDXL: sizes and crop, or the aesthetic score, `[N, 5 or 6]`. */
  readonly timeIds: tf.Tensor2D;
};

/** The text encoders of a model; the refiner has the second only. */
export interface TextEncoders {
  readonly first?: TextEncoder<ClipTextModel | ClipTextModelWithProjection>;
  readonly second?: TextEncoder<ClipTextModelWithProjection>;
  /** No negative prompt is zeros, not the empty prompt (SDXL's base). */
  readonly forceZerosForEmptyPrompt: boolean;
  /** Numbers that the UNet takes beside the pooled text: 6 (SDXL: sizes and crop), 5 (its refiner: a score), 0 elsewhere. */
  readonly numbers: number;
}

/** How prompts are read. */
function syntaxOf({ promptSyntax = 'weighted', longPrompts = 'cut' }: Settings): PromptSyntax {
  return { syntax: promptSyntax === 'plain' ? 'plain' : 'weights', ...(longPrompts === 'cut' && { maxChunks: 1 }) };
}

/** Stable Diffusion 1 and 2: positive and negative prompts in one pass of the text encoder. */
export function encodeSd(
  texts: TextEncoders,
  { images, settings }: Batch,
): EncodedBatch<Pick<SdConditions, 'context'>> {
  const prompts = [...images.map(({ prompt }) => prompt), ...images.map(({ negative }) => negative ?? '')];
  const skip = settings.clipSkip ?? 0;
  return tf.tidy(() => {
    const context = encodeSdPrompts(texts.first as TextEncoder<ClipTextModel>, prompts, {
      ...syntaxOf(settings),
      skip,
    });
    const [positive, negative] = tf.split(context, 2, 0) as [tf.Tensor3D, tf.Tensor3D];
    return { positive: { context: positive }, negative: { context: negative } };
  }) as EncodedBatch<Pick<SdConditions, 'context'>>;
}

/** The aesthetic scores that the refiner is told: of the positive and the negative prompt. Podell et al. 2023, section 2.5. */
const SCORES = [6, 2.5] as const;

/** SDXL and its refiner. Podell et al. 2023, section 2. */
export function encodeSdxl(texts: TextEncoders, { images, settings }: Batch): EncodedBatch<SdConditions> {
  const { first, second, forceZerosForEmptyPrompt, numbers } = texts;
  const count = images.length;
  const absent = forceZerosForEmptyPrompt ? null : '';
  const prompts = [...images.map(({ prompt }) => prompt), ...images.map(({ negative }) => negative ?? absent)];
  const seconds = [
    ...images.map(({ prompt, secondPrompt }) => secondPrompt ?? prompt),
    ...images.map(({ negative, secondNegative }) => secondNegative ?? negative ?? absent),
  ];
  const { height, width, originalSize, cropTopLeft, targetSize } = settings;
  const scores = [settings.aestheticScore ?? SCORES[0], settings.negativeAestheticScore ?? SCORES[1]];
  return tf.tidy(() => {
    const encoders = { ...(first && { clipL: first }), bigG: second! };
    const { context, pooled } = encodeSdxlPrompts(encoders, prompts, {
      ...syntaxOf(settings),
      skip: settings.clipSkip ?? 0,
      secondPrompts: seconds,
    });
    const half = (i: 0 | 1): SdConditions => {
      const row = [
        ...(originalSize ?? [height, width]),
        ...(cropTopLeft ?? [0, 0]),
        ...(numbers === 6 ? (targetSize ?? [height, width]) : [scores[i]!]),
      ];
      return {
        context: tf.slice(context, i * count, count) as tf.Tensor3D,
        pooled: tf.slice(pooled, i * count, count) as tf.Tensor2D,
        timeIds: tf.tensor2d(
          images.flatMap(() => row),
          [count, numbers],
        ),
      };
    };
    return { positive: half(0), negative: half(1) };
  }) as EncodedBatch<SdConditions>;
}
