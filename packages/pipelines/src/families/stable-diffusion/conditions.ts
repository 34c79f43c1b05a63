import { noised, type Sampler } from '@mezzotint/schedulers';
import {
  type ClipTextModel,
  type ClipTextModelWithProjection,
  encodeSdPrompts,
  encodeSdxlPrompts,
  type PromptSyntax,
  type TextEncoder,
  type Tokenizer,
} from '@mezzotint/text-encoders';
import * as tf from '@tensorflow/tfjs-core';
import { type Note, noteCuts } from '../../long-prompts.js';
import { ofRequest } from '../../low-resolution.js';
import type { Settings } from '../../request.js';
import type { Batch, EncodeContext, EncodedBatch } from '../../stage.js';

/** What the UNet is given beside image and time. */
export type SdConditions = {
  /** States of the text encoders, `[N, 77 chunks, D]`. */
  readonly context: tf.Tensor3D;
  /** SDXL: pooled text of the second encoder, `[N, P]`. */
  readonly pooled?: tf.Tensor2D;
  /** SDXL: sizes and crop, or the aesthetic score, `[N, 5 or 6]`. */
  readonly timeIds?: tf.Tensor2D;
  /** LCM: sinusoidal embedding of the guidance scale, `[N, W]`. */
  readonly timeCondition?: tf.Tensor2D;
  /** Upscaler: the small picture with its noise, `[N, h, w, 3]`, and the noise level, int32 `[N]`. */
  readonly small?: tf.Tensor4D;
  readonly labels?: tf.Tensor1D;
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
function syntaxOf({ promptSyntax, longPrompts }: Settings): PromptSyntax {
  return {
    syntax: promptSyntax === 'weighted' ? 'weights' : 'plain',
    ...(longPrompts !== 'chunks' && { maxChunks: 1 }),
  };
}

/** A word with a weight, as the web UI writes it. */
const WEIGHTED = /\([^()]+:\s*\d*\.?\d+\s*\)/;

/** Tells of weights that do not count, and quotes what a text encoder does not read of prompts that are cut. */
function noteUnread(
  tokenizer: Tokenizer,
  prompts: readonly (string | null)[],
  { longPrompts, promptSyntax }: Settings,
  note: Note,
): void {
  if (promptSyntax !== 'weighted' && prompts.some((prompt) => WEIGHTED.test(prompt ?? ''))) {
    note('brackets with weights are read as text, as in diffusers; promptSyntax: weighted makes (word:1.2) count more');
  }
  if (longPrompts === 'chunks') return;
  noteCuts(tokenizer, prompts, tokenizer.maxLength, note, { advice: ' (longPrompts: chunks reads it all)' });
}

/** Stable Diffusion 1 and 2: positive and negative prompts in one pass of the text encoder. */
export function encodeSd(texts: TextEncoders, { images, settings }: Batch, note: Note): EncodedBatch<SdConditions> {
  const prompts = [...images.map(({ prompt }) => prompt), ...images.map(({ negative }) => negative ?? '')];
  const skip = settings.clipSkip ?? 0;
  noteUnread(texts.first!.tokenizer, prompts, settings, note);
  return tf.tidy(() => {
    const halves = (skip: number) => {
      const states = encodeSdPrompts(texts.first as TextEncoder<ClipTextModel>, prompts, {
        ...syntaxOf(settings),
        skip,
      });
      return tf.split(states, 2, 0) as [tf.Tensor3D, tf.Tensor3D];
    };
    const whole = halves(0);
    // As in diffusers, layers are skipped for the positive prompt only.
    return { positive: { context: skip === 0 ? whole[0] : halves(skip)[0] }, negative: { context: whole[1] } };
  }) as EncodedBatch<SdConditions>;
}

/** The aesthetic scores that the refiner is told: of the positive and the negative prompt. Podell et al. 2023, section 2.5. */
const SCORES = [6, 2.5] as const;

/** SDXL and its refiner. Podell et al. 2023, section 2. */
export function encodeSdxl(texts: TextEncoders, { images, settings }: Batch, note: Note): EncodedBatch<SdConditions> {
  const { first, second, forceZerosForEmptyPrompt, numbers } = texts;
  const count = images.length;
  const absent = forceZerosForEmptyPrompt ? null : '';
  const prompts = [...images.map(({ prompt }) => prompt), ...images.map(({ negative }) => negative ?? absent)];
  // The refiner's one encoder reads the first prompts, as in diffusers.
  const seconds =
    first === undefined
      ? prompts
      : [
          ...images.map(({ prompt, secondPrompt }) => secondPrompt ?? prompt),
          ...images.map(({ negative, secondNegative }) => secondNegative ?? negative ?? absent),
        ];
  noteUnread((first ?? second!).tokenizer, prompts, settings, note);
  const scores = [settings.aestheticScore ?? SCORES[0], settings.negativeAestheticScore ?? SCORES[1]];
  return tf.tidy(() => {
    const encoders = { ...(first && { clipL: first }), bigG: second! };
    const states = (skip: number) =>
      encodeSdxlPrompts(encoders, prompts, { ...syntaxOf(settings), skip, secondPrompts: seconds });
    const whole = states(0);
    // As in diffusers, layers are skipped for the positive prompt only.
    const encoded = [settings.clipSkip ? states(settings.clipSkip) : whole, whole] as const;
    const half = (i: 0 | 1): SdConditions => {
      const { context, pooled } = encoded[i];
      const { original, crop, target } = sizesOf(settings, i === 1, numbers);
      const row = [...original, ...crop, ...(numbers === 6 ? target : [scores[i]!])];
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

/**
 * The sizes and the crop that SDXL is told. Those of the negative prompt are the prompt's unless it has its own; as in diffusers its crop
 * is then 0,0 where nothing is said, and for the refiner always, while image to image keeps the prompt's crop for the base.
 */
function sizesOf(settings: Settings, negative: boolean, numbers: number) {
  const {
    height,
    width,
    originalSize = [height, width],
    cropTopLeft = [0, 0],
    targetSize = [height, width],
  } = settings;
  const { negativeOriginalSize, negativeCropTopLeft = [0, 0], negativeTargetSize, image } = settings;
  if (!negative) return { original: originalSize, crop: cropTopLeft, target: targetSize };
  const own = negativeOriginalSize !== undefined && negativeTargetSize !== undefined;
  const keepsCrop = numbers === 6 && (image !== undefined || !own);
  return {
    original: negativeOriginalSize ?? originalSize,
    crop: keepsCrop ? cropTopLeft : negativeCropTopLeft,
    target: negativeTargetSize ?? targetSize,
  };
}

/**
 * The guidance scale as an input of the network, which was distilled with it: the sinusoidal embedding of 1000 (scale - 1).
 * One pass, nothing to guide away from. Luo et al. 2023 (arXiv 2310.04378), section 4.3; Meng et al. 2022 (arXiv 2210.03142).
 * Disposes what it is given but for `context`.
 */
export function withGuidance(
  { positive, negative }: EncodedBatch<SdConditions>,
  { images, settings }: Batch,
  width: number,
): EncodedBatch<SdConditions> {
  tf.dispose(Object.values(negative ?? {}));
  const half = Math.floor(width / 2);
  // Rounded to float32 where diffusers rounds: at phases of thousands an exact frequency would be off by 1e-4.
  const round = Math.fround;
  const scale = round(1000 * round(settings.guidance - 1));
  const step = round(round(Math.log(10000)) / (half - 1));
  const phases = Array.from({ length: half }, (_, i) => round(scale * round(Math.exp(round(-i * step)))));
  const row = [...phases.map(Math.sin), ...phases.map(Math.cos), ...(width % 2 === 1 ? [0] : [])];
  const timeCondition = tf.tensor2d(
    images.flatMap(() => row),
    [images.length, width],
  );
  return { positive: { ...positive, timeCondition }, negative: null };
}

/** The noise level of an upscaler's input where nothing was asked; diffusers' default. */
const NOISE_LEVEL = 20;

/**
 * The small picture that an upscaler sees, with noise of a level that it is told. Noise: one draw, before the run's own.
 * Rombach et al. 2022, section 4.4, and the x4 upscaler's card.
 */
export function withSmallPicture(
  { positive, negative }: EncodedBatch<SdConditions>,
  { images, settings }: Batch,
  { noise, previous }: EncodeContext,
  sampler: Sampler,
  unit: number,
): EncodedBatch<SdConditions> {
  const { noiseLevel = NOISE_LEVEL } = settings;
  const level = sampler.levelAt(noiseLevel);
  const more = () => {
    const labels = tf.tensor1d(new Int32Array(images.length).fill(noiseLevel), 'int32');
    return { labels };
  };
  const small = tf.tidy(() => {
    const pictures = previous ?? ofRequest(settings.image, images.length, 3, unit);
    return noised(pictures, level, noise);
  });
  return {
    positive: { ...positive, ...more(), small },
    negative: negative && { ...negative, ...more(), small: tf.clone(small) },
  };
}
