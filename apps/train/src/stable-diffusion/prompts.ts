import { InvalidArgumentError, type RandomStream } from '@mezzotint/core';
import { encodeSdPrompts, type Tokenizer } from '@mezzotint/text-encoders';
import * as tf from '@tensorflow/tfjs-core';
import type { StableDiffusionTask } from '../config.js';
import { PLAIN, type StableDiffusion } from './open.js';

/** What pictures of a new token are said to be where nothing else is said; `*` is the token. */
const SENTENCES = [
  ...['a photo of *', 'a picture of *', 'a close-up of *', 'one *', 'a bright photo of *', 'a dark photo of *'],
  ...['a small *', 'a large *', 'a photo of * from the side', 'a photo of * from above'],
];

/** What the pictures of a run are said to be. */
export interface Prompts {
  /** The prompts of a batch: captions, else one of the configuration's, drawn for each picture, and the empty one where it is dropped. */
  of(captions: readonly string[], rng: RandomStream): string[];
  /** Those that any picture may be given. */
  readonly always: readonly string[];
  /** Prompts to show samples of. */
  readonly shown: readonly string[];
  /** A line for people where captions are passed over. */
  readonly note?: string;
}

/**
 * @param captions those of each picture of the data
 * @throws InvalidArgumentError when a picture has neither a caption nor a prompt, or a prompt lacks the new token
 */
export function promptsOf(config: StableDiffusionTask, captions: readonly (readonly string[])[]): Prompts {
  const { token, promptDropout } = config;
  const given =
    config.prompt === undefined
      ? token && SENTENCES.map((one) => one.replace('*', token.text))
      : [config.prompt].flat();
  const usable = (caption: string) => caption !== '' && (token === undefined || caption.includes(token.text));
  const without = captions.filter((all) => !all.some(usable)).length;
  const problems: string[] = [];
  if (given === undefined && without > 0) {
    problems.push(
      `${without} of ${captions.length} pictures have no caption: say by prompt (--prompt) what they are, or write captions`,
    );
  }
  const strange = token && config.prompt !== undefined ? given!.filter((one) => !one.includes(token.text)) : [];
  if (strange.length > 0) problems.push(`a prompt must hold the token ${token!.text}, got '${strange[0]}'`);
  if (problems.length > 0) throw new InvalidArgumentError('prompt', problems);
  const passedOver = captions.filter((all) => all.length > 0 && !all.some(usable)).length;
  const first = [...new Set(captions.flatMap((all) => all.filter(usable)))];
  return {
    of: (batch, rng) =>
      batch.map((caption) => {
        if (promptDropout > 0 && rng.rand(1)[0]! < promptDropout) return '';
        if (usable(caption)) return caption;
        return given![given!.length === 1 ? 0 : Math.floor(rng.rand(1)[0]! * given!.length)]!;
      }),
    always: [...(given ?? []), ...(promptDropout > 0 ? [''] : [])],
    shown: config.samples.prompts ?? (without > 0 ? given! : first).slice(0, 4),
    ...(passedOver > 0 && {
      note: `${passedOver} pictures have captions without ${token!.text}, which are passed over`,
    }),
  };
}

/** States of prompts by a text encoder that is not trained, `[T, D]` each. */
export type PromptStates = ReadonlyMap<
  string,
  { readonly shape: readonly [number, number]; readonly data: Float32Array }
>;

/** Prompts whose states are kept: about half a gigabyte of Stable Diffusion 1. */
const MOST_PROMPTS = 2048;

/**
 * What gives the states of prompts, and with them of those that any batch may have (`always`). The states that it gave stay whole,
 * however many others are asked for: several batches wait for one update.
 *
 * @param most prompts that are kept
 */
export function textStates(
  { textEncoder: encoder }: StableDiffusion,
  tokenizer: Tokenizer,
  always: readonly string[],
  most = MOST_PROMPTS,
): (prompts: readonly string[]) => Promise<PromptStates> {
  const kept = new Map<string, NonNullable<ReturnType<PromptStates['get']>>>();
  const statesOf = async (prompt: string) => {
    const known = kept.get(prompt);
    if (known !== undefined) return known;
    const states = tf.tidy(() => encodeSdPrompts({ encoder, tokenizer }, [prompt], PLAIN));
    const [, length, width] = states.shape;
    const made = { shape: [length, width], data: Float32Array.from(await states.data()) } as const;
    states.dispose();
    kept.set(prompt, made);
    return made;
  };
  return async (prompts) => {
    if (kept.size + prompts.length > most) kept.clear();
    const asked = new Map<string, Awaited<ReturnType<typeof statesOf>>>();
    for (const prompt of [...always, ...prompts]) asked.set(prompt, await statesOf(prompt));
    return asked;
  };
}

/** The states of some prompts as a tensor `[N, T, D]`. */
export function stackStates(prompts: readonly string[], states: PromptStates): tf.Tensor3D {
  const [length, width] = states.get(prompts[0]!)!.shape;
  const all = new Float32Array(prompts.length * length * width);
  prompts.forEach((prompt, i) => void all.set(states.get(prompt)!.data, i * length * width));
  return tf.tensor3d(all, [prompts.length, length, width]);
}
