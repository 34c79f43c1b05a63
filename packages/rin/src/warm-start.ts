import * as tf from '@tensorflow/tfjs-core';
import type { RIN, RINState } from './rin.js';

/** A RIN as the network of one run of a sampler. */
export interface WarmStart {
  /** The prediction at x `[N, H, W, C]` and gamma `[N]` (all equal), a new tensor. */
  network(x: tf.Tensor4D, gamma: tf.Tensor1D, cond: { readonly labels?: tf.Tensor1D }): tf.Tensor4D;
  /** Frees the state; the next call starts from nothing. */
  dispose(): void;
}

/**
 * Latent self-conditioning in sampling: each step starts from the state that the step before left behind, the first one from
 * nothing. Jabri et al. 2022, section 3.3, as in the original sampler: all passes at one level (guidance has two) are given
 * the same state, and the first of them, the conditional one, leaves the next. Make one for each run, and dispose it after.
 *
 * @param options images: of the run, where one call has the conditional images and then the unconditional ones (`join` of
 *   guidance); the first call's batch when absent
 */
export function warmStarted(model: RIN, { images }: { readonly images?: number } = {}): WarmStart {
  let level: number | undefined;
  let given: RINState | undefined;
  let left: RINState | undefined;
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
    dispose() {
      free(given);
      free(left);
      [given, left, level] = [undefined, undefined, undefined];
    },
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
