import * as tf from '@tensorflow/tfjs-core';
import { throwIf } from '../checks.js';
import type { ClipTextModel, ClipTextModelWithProjection } from '../clip/text.js';
import type { T5EncoderModel } from '../t5/encoder.js';
import type { Tokenizer } from '../tokenizers/tokenizer.js';
import { alignChunks, chunkPrompt, type PromptChunk } from './chunks.js';
import {
  checkPrompts,
  distinctRows,
  emphasised,
  firstOfEach,
  joined,
  type PromptOptions,
  rowsAt,
  runChunks,
  type TextEncoder,
} from './encode.js';

/** {@link PromptOptions} of models that T5 reads for. */
export interface T5PromptOptions extends PromptOptions {
  /** Tokens of T5: prompts are padded or cut to so many. Pictures depend on it. */
  readonly t5Length: number;
  /** What the second encoder (Stable Diffusion 3: CLIP-G, FLUX: T5) is given in the place of the prompts, one for each. */
  readonly secondPrompts?: readonly string[];
}

/** {@link T5PromptOptions} of Stable Diffusion 3. */
export interface Sd3PromptOptions extends T5PromptOptions {
  /** What T5, the third encoder, is given in the place of the prompts, one for each. */
  readonly thirdPrompts?: readonly string[];
  /** How many layers before the penultimate one CLIP's states are taken from; 0 when absent. */
  readonly skip?: number;
}

/** What Stable Diffusion 3 or FLUX is given of prompts. Both are new and the caller's to dispose. */
export type T5Prompt = {
  /** Tokens, `[N, S, D]`. */
  readonly context: tf.Tensor3D;
  /** Pooled text, `[N, P]`. */
  readonly pooled: tf.Tensor2D;
};

/** The text encoders of Stable Diffusion 3, each of which may be absent: what it would give is zeros then. */
export interface Sd3TextEncoders {
  readonly clipL?: TextEncoder<ClipTextModelWithProjection>;
  readonly bigG?: TextEncoder<ClipTextModelWithProjection>;
  readonly t5?: TextEncoder<T5EncoderModel>;
  /** Width of the tokens that the model takes: T5's; CLIP's are padded to it with zeros. */
  readonly contextWidth: number;
  /** Width of the pooled text. */
  readonly pooledWidth: number;
}

/** The text encoders of FLUX. */
export interface FluxTextEncoders {
  readonly clipL: TextEncoder<ClipTextModel | ClipTextModelWithProjection>;
  readonly t5: TextEncoder<T5EncoderModel>;
}

/** Widths of the published encoders, for the place of one that is absent. */
const CLIP_L = { width: 768, projection: 768 };

/**
 * Prompts for Stable Diffusion 3: the penultimate states of both CLIP encoders side by side, padded with zeros to T5's
 * width, and T5's tokens behind them, `[N, 77 chunks + t5Length, D]`; pooled, both projected texts side by side. Esser et al.
 * 2024, figure 2; T5 sees its padding, as there.
 *
 * @throws InvalidArgumentError without prompts, without any encoder, or for a T5 length that the tokenizer does not allow
 */
export function encodeSd3Prompts(
  { clipL, bigG, t5, contextWidth, pooledWidth }: Sd3TextEncoders,
  prompts: readonly string[],
  options: Sd3PromptOptions,
): T5Prompt {
  checkPrompts('encodeSd3Prompts', prompts);
  const { skip = 0, secondPrompts = prompts, thirdPrompts = prompts, t5Length } = options;
  throwIf('encodeSd3Prompts', [
    ...(clipL || bigG || t5 ? [] : ['expected at least one text encoder, got none']),
    ...lengthProblems(t5?.tokenizer, t5Length),
  ]);
  const cut = [clipL, bigG].map((part, i) =>
    part === undefined
      ? undefined
      : (i === 0 ? prompts : secondPrompts).map((prompt) => chunkPrompt(part.tokenizer, prompt, options)),
  );
  const most = Math.max(1, ...cut.flatMap((chunks) => chunks ?? []).map((chunks) => chunks.length));
  return tf.tidy(() => {
    const texts = [clipL, bigG].map((part, i) => {
      if (part === undefined) return undefined;
      const chunks = alignChunks(part.tokenizer, cut[i]!, most);
      const output = runChunks(part.encoder, chunks, { skip: 1 + skip });
      return {
        states: emphasised(joined(output.hiddenState, chunks), chunks, options), //     [N, 77 chunks, D]
        pooled: firstOfEach(output.textEmbeds, most), //                                [N, P]
      };
    });
    const [l, g] = texts;
    const n = prompts.length;
    const tokens = (l ?? g)?.states.shape[1] ?? 77;
    const widthL = l?.states.shape[2] ?? Math.min(CLIP_L.width, contextWidth);
    const pooledL =
      l?.pooled.shape[1] ?? (g ? pooledWidth - g.pooled.shape[1] : Math.min(CLIP_L.projection, pooledWidth));
    const rest = contextWidth - widthL - (g?.states.shape[2] ?? 0);
    const clip = tf.concat(
      [l?.states ?? tf.zeros([n, tokens, widthL]), ...(g ? [g.states] : []), tf.zeros([n, tokens, rest])],
      2,
    ); //                                                                               [N, 77 chunks, D]
    const read = t5 ? encodeT5(t5, thirdPrompts, options) : tf.zeros([n, t5Length, contextWidth]);
    const pooled = [l?.pooled ?? tf.zeros([n, pooledL]), g?.pooled ?? tf.zeros([n, pooledWidth - pooledL])];
    return { context: tf.concat([clip, read], 1), pooled: tf.concat(pooled, 1) } as T5Prompt;
  });
}

/**
 * Prompts for FLUX.1: T5's tokens `[N, t5Length, D]`, its padding among them, and CLIP-L's pooled token without projection
 * `[N, P]`.
 *
 * @throws InvalidArgumentError without prompts or for a T5 length that the tokenizer does not allow
 */
export function encodeFluxPrompts(
  { clipL, t5 }: FluxTextEncoders,
  prompts: readonly string[],
  options: T5PromptOptions,
): T5Prompt {
  checkPrompts('encodeFluxPrompts', prompts);
  throwIf('encodeFluxPrompts', lengthProblems(t5.tokenizer, options.t5Length));
  // CLIP gives one vector of the first 75 tokens, whatever follows.
  const chunks = prompts.map((prompt) => chunkPrompt(clipL.tokenizer, prompt, { ...options, maxChunks: 1 }));
  return tf.tidy(() => ({
    context: encodeT5(t5, options.secondPrompts ?? prompts, options),
    pooled: runChunks(clipL.encoder, chunks, { skip: 0 }).pooled,
  }));
}

/** T5's tokens of prompts, `[N, length, D]`, one chunk each. */
function encodeT5(
  { encoder, tokenizer }: TextEncoder<T5EncoderModel>,
  prompts: readonly string[],
  options: T5PromptOptions,
): tf.Tensor3D {
  const cut: Tokenizer = { ...tokenizer, maxLength: options.t5Length };
  const chunks: PromptChunk[][] = prompts.map((prompt) => chunkPrompt(cut, prompt, { ...options, maxChunks: 1 }));
  const { distinct, places } = distinctRows(chunks.map(([chunk]) => chunk!.ids));
  const states = encoder.forward(tf.tensor2d(distinct, undefined, 'int32'));
  return emphasised(rowsAt(states, places), chunks, options);
}

function lengthProblems(tokenizer: Tokenizer | undefined, length: number): string[] {
  const most = tokenizer?.maxLength ?? 512;
  return Number.isInteger(length) && length >= 2 && length <= most
    ? []
    : [`t5Length: expected a whole number in 2..${most}, got ${length}`];
}
