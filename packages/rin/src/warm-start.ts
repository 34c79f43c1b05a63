import { type HostTensor, InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { RIN, RINState } from './rin.js';

/** A RIN as the network of one run of a sampler. */
export interface WarmStart {
  /** The prediction at x `[N, H, W, C]` and gamma `[N]` (all equal), a new tensor. */
  network(x: tf.Tensor4D, gamma: tf.Tensor1D, cond: { readonly labels?: tf.Tensor1D }): tf.Tensor4D;
  /** The state between two steps, for `from` of another warm start; empty before the first step. */
  save(): Promise<readonly HostTensor[]>;
  /** Frees the state; the next call starts from nothing. */
  dispose(): void;
}

/**
 * Latent self-conditioning in sampling: each step starts from the state that the step before left behind, the first one from
 * nothing. Jabri et al. 2022, section 3.3, as in the original sampler: all passes at one level (guidance has two) are given
 * the same state, and the first of them, the conditional one, leaves the next. Make one for each run, and dispose it after.
 *
 * @param options images: of the run, where one call has the conditional images and then the unconditional ones (`join` of
 *   guidance); the first call's batch when absent. from: a state that was saved, which the run goes on with
 * @throws InvalidArgumentError when `from` is no state that `save` gives
 */
export function warmStarted(
  model: RIN,
  { images, from = [] }: { readonly images?: number; readonly from?: readonly HostTensor[] | undefined } = {},
): WarmStart {
  let { level, given, left } = restored(from);
  const free = (state: RINState | undefined) => state && tf.dispose([state.latents, state.tokens]);
  return {
    network(x, gamma, { labels }) {
      const now = gamma.dataSync()[0]!;
      if (now !== level) {
        free(given);
        [given, left, level] = [left, undefined, now];
      }
      return tf.tidy(() => {
        const previous = given && repeated(given, x.shape[0]);
        const out = model.pass(x, gamma, { ...(labels && { labels }), ...(previous && { previous }) });
        left ??= keptRows(out, images ?? x.shape[0]);
        return out.prediction;
      });
    },
    async save() {
      if (level === undefined || left === undefined) return [];
      const states = [left, ...(given ? [given] : [])];
      const tensors = states.flatMap(({ latents, tokens }) => [latents, tokens]);
      const saved = await Promise.all(
        tensors.map(async (t) => ({ shape: t.shape, data: Float32Array.from(await t.data()) })),
      );
      // A level is a float32, which the network read out of a tensor.
      return [{ shape: [], data: Float32Array.of(level) }, ...saved];
    },
    dispose() {
      free(given);
      free(left);
      [given, left, level] = [undefined, undefined, undefined];
    },
  };
}

/** What `save` gave: the level; latents and tokens that its first pass left; those that its passes were given, if any. */
function restored(from: readonly HostTensor[]): { level?: number; given?: RINState; left?: RINState } {
  if (from.length === 0) return {};
  const [level, ...states] = from;
  const isState = states.every(({ shape }) => shape.length === 3);
  if (level!.data.length !== 1 || !isState || (states.length !== 2 && states.length !== 4)) {
    throw new InvalidArgumentError('warmStarted', 'from: expected what save gave: a level and one or two states');
  }
  const state = ([latents, tokens]: readonly HostTensor[]): RINState => ({
    latents: tf.tensor3d(latents!.data, latents!.shape as [number, number, number]),
    tokens: tf.tensor3d(tokens!.data, tokens!.shape as [number, number, number]),
  });
  return {
    level: level!.data[0]!,
    left: state(states.slice(0, 2)),
    ...(states.length === 4 && { given: state(states.slice(2)) }),
  };
}

/** The state once more for each further batch of the same images. */
function repeated({ latents, tokens }: RINState, count: number): RINState {
  const times = count / latents.shape[0];
  if (times === 1) return { latents, tokens };
  return { latents: tf.tile(latents, [times, 1, 1]), tokens: tf.tile(tokens, [times, 1, 1]) };
}

/** The state of the first images, kept beyond the step. */
function keptRows({ latents, tokens }: RINState, count: number): RINState {
  const rows = (t: tf.Tensor3D) => tf.keep(tf.slice(t, 0, count));
  return { latents: rows(latents), tokens: rows(tokens) };
}
