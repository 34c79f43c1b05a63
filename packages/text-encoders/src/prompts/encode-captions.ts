import * as tf from '@tensorflow/tfjs-core';
import { throwIf } from '../checks.js';
import type { ClipTextModel, ClipTextModelWithProjection } from '../clip/text.js';
import type { T5EncoderModel } from '../t5/encoder.js';
import { padIds } from '../tokenizers/tokenizer.js';
import type { TextEncoder } from './encode.js';

/** A text encoder of a model of one's own, and how it reads. */
export interface CaptionEncoder extends TextEncoder<ClipTextModel | ClipTextModelWithProjection | T5EncoderModel> {
  /** Tokens of a text, start and end included: it is cut or padded to so many. The tokenizer's longest when absent. */
  readonly length?: number;
  /** CLIP: tokens are those of the layer so many before the last, normed; 0 when absent. T5 gives its last layer. */
  readonly skip?: number;
}

/** What a network is given of captions. All new and the caller's to dispose. */
export type EncodedCaptions = {
  /** Tokens of all encoders, one encoder's behind the other's, padded with zeros to the widest, `[N, S, D]`. */
  readonly context: tf.Tensor3D;
  /** int32 `[N, S]`: 1 for a token of the text (start and end too), 0 for padding. */
  readonly contextMask: tf.Tensor2D;
  /** Pooled texts of all CLIP encoders side by side, projected where they have a projection; without any the mean of T5's tokens. `[N, P]`. */
  readonly pooled: tf.Tensor2D;
};

/** What one encoder says of texts. All new and the caller's to dispose. */
export interface EncodedTexts {
  /** `[N, S, D]`. */
  readonly context: tf.Tensor3D;
  /** int32 `[N, S]`. */
  readonly mask: tf.Tensor2D;
  /** `[N, P]`; of T5, which pools nothing, `[N, 0]`. */
  readonly pooled: tf.Tensor2D;
}

/** How texts without a caption are given. */
export interface CaptionOptions {
  /** A text that is null is the empty text (when absent), or zeros for tokens, mask and pooled text. */
  readonly none?: 'empty-prompt' | 'zeros';
}

/** Sizes of {@link EncodedCaptions}: tokens S, their width D and that of the pooled text P. */
export function captionShape(encoders: readonly CaptionEncoder[]): {
  readonly tokens: number;
  readonly width: number;
  readonly pooledWidth: number;
} {
  const widths = encoders.map(({ encoder }) => encoder.config.width);
  const pooled = encoders.flatMap(({ encoder }) => (isClip(encoder) ? pooledWidthOf(encoder) : []));
  return {
    tokens: encoders.reduce((sum, encoder) => sum + lengthOf(encoder), 0),
    width: Math.max(...widths),
    pooledWidth: pooled.length > 0 ? pooled.reduce((a, b) => a + b) : Math.max(...widths),
  };
}

/**
 * Captions as a network of one's own takes them, read by one text encoder or by several. A text that is null stands for no caption: the
 * empty text, or with `none: 'zeros'` zeros for tokens, mask and pooled text (Imagen, which hides such tokens).
 *
 * @param texts one list for each encoder, all of N texts: an encoder's caption may be dropped while another keeps it (Esser et al. 2024,
 *   section 5.3.2)
 * @param options `encode` is called in the place of {@link encodeTexts}, with the index of an encoder and its texts: for those whose texts
 *   were encoded before
 * @throws InvalidArgumentError without encoders or texts, for lists of different lengths, for lengths that a tokenizer does not allow
 */
export function encodeCaptions(
  encoders: readonly CaptionEncoder[],
  texts: readonly (readonly (string | null)[])[],
  {
    none,
    encode = (i, own) => encodeTexts(encoders[i]!, own, { ...(none && { none }) }),
  }: CaptionOptions & { encode?(encoder: number, texts: readonly (string | null)[]): EncodedTexts } = {},
): EncodedCaptions {
  check(encoders, texts);
  const { width } = captionShape(encoders);
  return tf.tidy(() => {
    const read = encoders.map((_, i) => encode(i, texts[i]!)); //                        [N, S_i, D_i]
    const contexts = read.map(({ context }) =>
      tf.pad(context, [
        [0, 0],
        [0, 0],
        [0, width - context.shape[2]],
      ]),
    );
    const pooled = read.filter((_, i) => isClip(encoders[i]!.encoder));
    return {
      context: tf.concat(contexts, 1) as tf.Tensor3D,
      contextMask: tf.concat(
        read.map(({ mask }) => mask),
        1,
      ) as tf.Tensor2D,
      pooled:
        pooled.length > 0
          ? tf.concat(
              pooled.map((one) => one.pooled),
              1,
            )
          : meanOf(read, width),
    };
  });
}

/**
 * What one encoder says of N texts: its part of {@link encodeCaptions}.
 *
 * @param texts null for no caption
 */
export function encodeTexts(
  one: CaptionEncoder,
  texts: readonly (string | null)[],
  { none = 'empty-prompt' }: CaptionOptions = {},
): EncodedTexts {
  return tf.tidy(() => {
    const { encoder, tokenizer, skip = 0 } = one;
    const length = lengthOf(one);
    const n = texts.length;
    const rows = texts.map((text) => padIds(tokenizer, tokenizer.encode(text ?? ''), length));
    const ints = (of: (row: (typeof rows)[number]) => readonly number[]) =>
      tf.tensor2d(Int32Array.from(rows.flatMap(of)), [n, length], 'int32');
    const ids = ints((row) => row.ids);
    const tokens = ints((row) => row.mask);
    const there = texts.map((text) => (text === null && none === 'zeros' ? 0 : 1));
    const mask = there.includes(0) ? (tf.mul(tokens, tf.tensor2d(there, [n, 1], 'int32')) as tf.Tensor2D) : tokens;
    const kept = <T extends tf.Tensor>(x: T): T =>
      there.includes(0) ? tf.mul<T>(x, tf.tensor(there, [n, ...x.shape.slice(1).map(() => 1)])) : x;
    if (!isClip(encoder)) {
      const context = kept(encoder.forward(ids, { mask: tokens }));
      return { context, mask, pooled: tf.zeros<tf.Rank.R2>([n, 0]) };
    }
    const output = encoder.forward(ids, { skip });
    const states =
      skip === 0 ? output.lastHiddenState : encoder.text_model.final_layer_norm.forward(output.hiddenState);
    const pooled = 'textEmbeds' in output ? (output.textEmbeds as tf.Tensor2D) : output.pooled;
    return { context: kept(states), mask, pooled: kept(pooled) };
  });
}

/** The mean of the tokens that count, `[N, D]`; zeros where none does. */
function meanOf(read: readonly EncodedTexts[], width: number): tf.Tensor2D {
  const means = read.map(({ context, mask }) => {
    const weights = tf.expandDims(tf.cast(mask, 'float32'), 2); //                       [N, S, 1]
    const sum = tf.sum(tf.mul(context, weights), 1); //                                  [N, D]
    const mean = tf.div(sum, tf.maximum(tf.sum(weights, 1), 1)) as tf.Tensor2D;
    return tf.pad(mean, [
      [0, 0],
      [0, width - context.shape[2]],
    ]) as tf.Tensor2D;
  });
  return tf.div(tf.addN(means), means.length);
}

function isClip(encoder: CaptionEncoder['encoder']): encoder is ClipTextModel | ClipTextModelWithProjection {
  return 'text_model' in encoder;
}

function pooledWidthOf(encoder: ClipTextModel | ClipTextModelWithProjection): number {
  return 'text_projection' in encoder ? encoder.config.projection! : encoder.config.width;
}

function lengthOf({ tokenizer, length = tokenizer.maxLength }: CaptionEncoder): number {
  return length;
}

function check(encoders: readonly CaptionEncoder[], texts: readonly (readonly unknown[])[]): void {
  const counts = new Set(texts.map((list) => list.length));
  throwIf('encodeCaptions', [
    ...(encoders.length > 0 ? [] : ['expected at least one text encoder, got none']),
    ...(texts.length === encoders.length
      ? []
      : [`texts: expected a list for each of ${encoders.length} encoders, got ${texts.length}`]),
    ...(counts.size === 1 && !counts.has(0)
      ? []
      : [`texts: expected as many texts for each encoder, at least one, got ${[...counts].join(' and ') || 'none'}`]),
    ...encoders.flatMap((encoder) => {
      const [length, most] = [lengthOf(encoder), encoder.tokenizer.maxLength];
      const fits = Number.isInteger(length) && length >= 2 && length <= most;
      return fits ? [] : [`length: expected a whole number in 2..${most}, got ${length}`];
    }),
  ]);
}
