import * as tf from '@tensorflow/tfjs-core';
import { throwIf } from '../checks.js';
import type { HiddenStateOptions } from '../clip/skip.js';
import type { ClipTextModel, ClipTextModelWithProjection, ClipTextOutput } from '../clip/text.js';
import type { Tokenizer } from '../tokenizers/tokenizer.js';
import { alignChunks, chunkPrompt, type PromptChunk, type PromptSyntax } from './chunks.js';

/** A text encoder and the tokenizer of its checkpoint. */
export interface TextEncoder<E> {
  readonly encoder: E;
  readonly tokenizer: Tokenizer;
}

/** How prompts become what a UNet is given. */
export interface PromptOptions extends PromptSyntax {
  /**
   * What weights do. `restore-mean` (when absent): states are multiplied and then scaled so that the mean of each
   * chunk is what it was, as the web UI does; `plain`: multiplied only.
   */
  readonly emphasis?: 'restore-mean' | 'plain';
}

/** {@link PromptOptions} with "clip skip". */
export interface SdPromptOptions extends PromptOptions {
  /** How many of the last layers are skipped; 0 when absent. The final norm is applied whatever it is. */
  readonly skip?: number;
}

/** {@link PromptOptions} of Stable Diffusion XL. */
export interface SdxlPromptOptions extends PromptOptions {
  /** How many layers before the penultimate one the states are taken from; 0 when absent. */
  readonly skip?: number;
  /** What the second encoder is given instead of the prompts, one for each. */
  readonly secondPrompts?: readonly (string | null)[];
}

/** What Stable Diffusion XL's UNets are given of a prompt. Both are new and the caller's to dispose. */
export type SdxlPrompt = {
  /** `[N, 77 chunks, D]`: D = 2048, both encoders side by side; of the refiner, which has one, 1280. */
  readonly context: tf.Tensor3D;
  /** `[N, 1280]`: the projected text of the first chunk. */
  readonly pooled: tf.Tensor2D;
};

/** The text encoders of Stable Diffusion XL; the refiner has the second only. */
export interface SdxlTextEncoders {
  readonly clipL?: TextEncoder<ClipTextModel | ClipTextModelWithProjection>;
  readonly bigG: TextEncoder<ClipTextModelWithProjection>;
}

/**
 * Prompts for Stable Diffusion 1 and 2: `[N, 77 chunks, D]`, the last layer's states (or those `skip` layers before)
 * after the final norm. All prompts get as many chunks as the longest, so a negative prompt is one more in the list.
 * (Version 2's penultimate layer is the last one of its 23.)
 *
 * @throws InvalidArgumentError without prompts, for a limit of chunks below 1, or when there are fewer layers than `skip`
 */
export function encodeSdPrompts(
  { encoder, tokenizer }: TextEncoder<ClipTextModel>,
  prompts: readonly string[],
  options: SdPromptOptions = {},
): tf.Tensor3D {
  const { skip = 0 } = options;
  checkPrompts('encodeSdPrompts', prompts);
  const chunks = alignChunks(
    tokenizer,
    prompts.map((prompt) => chunkPrompt(tokenizer, prompt, options)),
  );
  return tf.tidy(() => {
    const { lastHiddenState, hiddenState } = runChunks(encoder, chunks, { skip });
    const states = skip === 0 ? lastHiddenState : encoder.text_model.final_layer_norm.forward(hiddenState);
    return emphasised(joined(states, chunks), chunks, options);
  });
}

/**
 * Prompts for Stable Diffusion XL and its refiner: the penultimate layers' states without a final norm, side by side,
 * and the projected text of the second encoder. All prompts get as many chunks as the longest, so a negative prompt is
 * one more in the list. `null` is no prompt at all: zeros, as diffusers has for a negative prompt that is not given
 * (`force_zeros_for_empty_prompt`). Podell et al. 2023, section 2.1.
 *
 * @throws InvalidArgumentError without prompts or for a limit of chunks below 1
 */
export function encodeSdxlPrompts(
  { clipL, bigG }: SdxlTextEncoders,
  prompts: readonly (string | null)[],
  options: SdxlPromptOptions = {},
): SdxlPrompt {
  checkPrompts('encodeSdxlPrompts', prompts);
  const { skip = 0, secondPrompts = prompts } = options;
  const parts = clipL === undefined ? [bigG] : [clipL, bigG];
  const cut = parts.map((part) =>
    (part === bigG ? secondPrompts : prompts).map((prompt) => chunkPrompt(part.tokenizer, prompt ?? '', options)),
  );
  const most = Math.max(...cut.flat().map((chunks) => chunks.length));
  const [chunksG, chunksL] = parts.map(({ tokenizer }, i) => alignChunks(tokenizer, cut[i]!, most)).reverse() as [
    PromptChunk[][],
    PromptChunk[][] | undefined,
  ];
  return tf.tidy(() => {
    const second = runChunks(bigG.encoder, chunksG, { skip: 1 + skip });
    const states = [emphasised(joined(second.hiddenState, chunksG), chunksG, options)];
    if (clipL !== undefined && chunksL !== undefined) {
      const { hiddenState } = runChunks<ClipTextOutput>(clipL.encoder, chunksL, { skip: 1 + skip });
      states.unshift(emphasised(joined(hiddenState, chunksL), chunksL, options));
    }
    const there = tf.tensor1d(prompts.map((prompt) => (prompt === null ? 0 : 1)));
    const context: tf.Tensor3D = tf.mul(tf.concat(states, 2), tf.reshape(there, [-1, 1, 1]));
    const pooled: tf.Tensor2D = tf.mul(firstOfEach(second.textEmbeds, most), tf.reshape(there, [-1, 1]));
    return { context, pooled };
  });
}

/** One forward pass over the chunks of all prompts, `[N chunks, T]`; chunks that stand there twice are read once. */
export function runChunks<O extends ClipTextOutput>(
  encoder: { forward(ids: tf.Tensor2D, options: HiddenStateOptions): O },
  prompts: readonly (readonly PromptChunk[])[],
  options: HiddenStateOptions,
): O {
  const { distinct, places } = distinctRows(prompts.flat().map(({ ids }) => ids));
  const output = encoder.forward(tf.tensor2d(distinct, undefined, 'int32'), options);
  const all = Object.entries<tf.Tensor>(output).map(([name, tensor]) => [name, rowsAt(tensor, places)]);
  return Object.fromEntries(all) as O;
}

/** The rows that differ, and where each row stands among them. */
export function distinctRows(rows: readonly (readonly number[])[]): { distinct: number[][]; places: number[] } {
  const keys = rows.map(String);
  const distinct = [...new Set(keys)];
  return {
    distinct: distinct.map((key) => [...rows[keys.indexOf(key)]!]),
    places: keys.map((key) => distinct.indexOf(key)),
  };
}

/** x itself where each row stands in its place; else rows of it, copied: `tf.gather` has no gradient on wasm. */
export function rowsAt<T extends tf.Tensor>(x: T, places: readonly number[]): T {
  if (places.length === x.shape[0] && places.every((place, i) => place === i)) return x;
  const parts = x.shape[0] === 1 ? [x] : tf.split(x, x.shape[0]!, 0); // A split into one has no gradient.
  return tf.concat(places.map((place) => parts[place]!)) as T;
}

/** `[N chunks, T, D] -> [N, chunks T, D]`. */
export function joined(states: tf.Tensor3D, prompts: readonly (readonly PromptChunk[])[]): tf.Tensor3D {
  return tf.reshape(states, [prompts.length, -1, states.shape[2]]) as tf.Tensor3D;
}

/** `[N chunks, P] -> [N, P]`. */
export function firstOfEach(x: tf.Tensor2D, chunks: number): tf.Tensor2D {
  const width = x.shape[1];
  const grouped = tf.reshape(x, [-1, chunks, width]) as tf.Tensor3D;
  return tf.reshape(tf.slice(grouped, [0, 0, 0], [-1, 1, -1]), [-1, width]);
}

/** States `[N, T, D]` times the weights of their tokens. */
export function emphasised(
  states: tf.Tensor3D,
  prompts: readonly (readonly PromptChunk[])[],
  { emphasis = 'restore-mean' }: PromptOptions,
): tf.Tensor3D {
  const weights = prompts.flatMap((chunks) => chunks.flatMap((chunk) => chunk.weights));
  if (weights.every((weight) => weight === 1)) return states;
  const weighted: tf.Tensor3D = tf.mul(states, tf.tensor3d(weights, [states.shape[0], states.shape[1], 1]));
  if (emphasis === 'plain') return weighted;
  const [count, tokens, width] = states.shape;
  const chunks = prompts[0]!.length;
  const meanOfChunks = (x: tf.Tensor3D) =>
    tf.mean(tf.reshape(x, [count * chunks, tokens / chunks, width]), [1, 2], true); //               [N chunks, 1, 1]
  const scale = tf.tile(tf.div(meanOfChunks(states), meanOfChunks(weighted)), [1, tokens / chunks, 1]);
  return tf.mul(weighted, tf.reshape(scale, [count, tokens, 1]));
}

export function checkPrompts(who: string, prompts: readonly (string | null)[]): void {
  throwIf(who, prompts.length > 0 ? [] : ['prompts: expected at least one, got none']);
}
