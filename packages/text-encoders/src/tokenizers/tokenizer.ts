import * as tf from '@tensorflow/tfjs-core';
import { throwIf } from '../checks.js';

/** Turns texts into ids and knows how its model frames and pads them. Holds no tensors. */
export interface Tokenizer {
  /** Ids of a text as it is: no start, no end, no padding, of any length. */
  encode(text: string): readonly number[];
  /** Id before every text; null when the model has none (T5). */
  readonly start: number | null;
  /** Id after every text. */
  readonly end: number;
  /** Id that fills up: the end (CLIP ViT-L), 0 = `!` (OpenCLIP in Stable Diffusion 2 and XL), 0 = `<pad>` (T5). */
  readonly pad: number;
  /** How many tokens the model takes, start and end included. */
  readonly maxLength: number;
}

/** A text framed and padded. */
export interface PaddedIds {
  readonly ids: readonly number[];
  /** 1 for a token (start and end too), 0 for padding. */
  readonly mask: readonly number[];
}

/** Puts start and end around ids, cuts what does not fit into `length` tokens and fills up with padding. */
export function padIds(
  { start, end, pad }: Pick<Tokenizer, 'start' | 'end' | 'pad'>,
  ids: readonly number[],
  length: number,
): PaddedIds {
  const before = start === null ? [] : [start];
  const framed = [...before, ...ids.slice(0, Math.max(0, length - before.length - 1)), end];
  const padding = Math.max(0, length - framed.length);
  return {
    ids: [...framed, ...new Array<number>(padding).fill(pad)],
    mask: [...new Array<number>(framed.length).fill(1), ...new Array<number>(padding).fill(0)],
  };
}

/** Texts as tensors. Both are new and the caller's to dispose. */
export type TokenizedTexts = {
  /** int32 `[N, T]`. */
  readonly ids: tf.Tensor2D;
  /** int32 `[N, T]`: 1 for a token, 0 for padding. CLIP is not given it; T5 is where the model was trained so. */
  readonly mask: tf.Tensor2D;
};

/**
 * Tokenizes texts, frames each and cuts or pads it to `length` tokens (the model's longest when absent).
 *
 * @throws InvalidArgumentError without texts, or with a length that has no room for a text or is above the longest
 */
export function tokenize(
  tokenizer: Tokenizer,
  texts: readonly string[],
  { length = tokenizer.maxLength }: { readonly length?: number } = {},
): TokenizedTexts {
  const { maxLength } = tokenizer;
  const fits = Number.isInteger(length) && length >= 2 && length <= maxLength;
  throwIf('tokenize', [
    ...(texts.length > 0 ? [] : ['texts: expected at least one, got none']),
    ...(fits ? [] : [`length: expected a whole number in 2..${maxLength}, got ${length}`]),
  ]);
  const padded = texts.map((text) => padIds(tokenizer, tokenizer.encode(text), length));
  return {
    ids: tf.tensor2d(
      padded.flatMap(({ ids }) => ids),
      [texts.length, length],
      'int32',
    ),
    mask: tf.tensor2d(
      padded.flatMap(({ mask }) => mask),
      [texts.length, length],
      'int32',
    ),
  };
}
