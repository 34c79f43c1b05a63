import {
  type HostTensor,
  InvalidArgumentError,
  MezzotintError,
  type StateDict,
  WeightsMismatchError,
} from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { VectorQuantizer } from './vector-quantizer.js';

export interface EmaCodebookOptions {
  /** gamma; 0.99 when absent. */
  readonly decay?: number;
  /** Added to every count, so that a code that is never used keeps a finite vector; 1e-5 when absent. */
  readonly epsilon?: number;
}

/** What must be saved to go on: `counts` `[K]` and `sums` `[K, D]`. */
export type EmaCodebookState = StateDict;

/**
 * Moves each code to the running mean of what was assigned to it, instead of by a gradient. van den Oord et al. 2017,
 * appendix A.1: N_k <- gamma N_k + (1 - gamma) n_k, m_k <- gamma m_k + (1 - gamma) sum z, e_k = m_k / N_k.
 *
 * Call `observe` in the loss of every batch and `update` after every update of the weights (`afterUpdate` of
 * `@mezzotint/training`), and leave `codebookLoss` out. Owns tensors until `dispose`.
 */
export class EmaCodebook {
  readonly #quantizer: VectorQuantizer;
  readonly #decay: number;
  readonly #epsilon: number;
  #counts: tf.Tensor1D;
  #sums: tf.Tensor2D;
  #seen: { readonly counts: tf.Tensor1D; readonly sums: tf.Tensor2D } | undefined;

  /** @throws InvalidArgumentError when decay is not in [0, 1) or epsilon is not above 0 */
  constructor(quantizer: VectorQuantizer, { decay = 0.99, epsilon = 1e-5 }: EmaCodebookOptions = {}) {
    const problems: string[] = [];
    if (!(decay >= 0 && decay < 1)) problems.push(`decay: expected a number in [0, 1), got ${decay}`);
    if (!(epsilon > 0)) problems.push(`epsilon: expected a number above 0, got ${epsilon}`);
    if (problems.length > 0) throw new InvalidArgumentError('EmaCodebook', problems);
    this.#quantizer = quantizer;
    this.#decay = decay;
    this.#epsilon = epsilon;
    this.#counts = kept(tf.ones([quantizer.codes]));
    this.#sums = kept(tf.clone(quantizer.embedding.weight.value as tf.Tensor2D));
  }

  /** Takes note of a batch: z `[N, h, w, D]` and its `nearest(z)`, int32 `[N, h, w]`. Batches add up until `update`. */
  observe(z: tf.Tensor4D, indices: tf.Tensor3D): void {
    const { codes, width } = this.#quantizer;
    const before = this.#seen;
    this.#seen = tf.tidy(() => {
      const chosen = tf.cast(tf.oneHot(tf.reshape(indices, [-1]), codes), 'float32') as tf.Tensor2D; // [M, K]
      const counts = tf.sum<tf.Tensor1D>(chosen, 0);
      const sums = tf.matMul<tf.Tensor2D>(chosen, tf.reshape(z, [-1, width]), true, false); //   [K, D]
      return {
        counts: kept(before === undefined ? counts : tf.add(before.counts, counts)),
        sums: kept(before === undefined ? sums : tf.add(before.sums, sums)),
      };
    });
    if (before !== undefined) tf.dispose(before);
  }

  /** Moves the codebook by what was observed since the last call. Throws a MezzotintError when that is nothing. */
  update(): void {
    const seen = this.#seen;
    if (seen === undefined) {
      throw new MezzotintError('MEZZOTINT_NOTHING_OBSERVED', 'EmaCodebook: call observe in the loss before update.');
    }
    const before = [this.#counts, this.#sums];
    tf.tidy(() => {
      this.#counts = kept(mixed(this.#counts, seen.counts, this.#decay));
      this.#sums = kept(mixed(this.#sums, seen.sums, this.#decay));
      // Laplace smoothing: (N_k + epsilon) / (sum N + K epsilon) sum N.
      const total = tf.sum(this.#counts);
      const share = tf.div(tf.add(this.#counts, this.#epsilon), tf.add(total, this.#quantizer.codes * this.#epsilon));
      const smooth = tf.mul(share, total);
      this.#quantizer.embedding.weight.variable.assign(tf.div(this.#sums, tf.expandDims(smooth, 1)));
    });
    this.#seen = undefined;
    tf.dispose([...before, seen]);
  }

  /** The running counts and sums. What was observed since the last `update` is not part of it. */
  async save(): Promise<EmaCodebookState> {
    const host = async (t: tf.Tensor): Promise<HostTensor> => ({
      shape: [...t.shape],
      data: (await t.data()) as Float32Array,
    });
    return { counts: await host(this.#counts), sums: await host(this.#sums) };
  }

  /**
   * Takes a saved state. The codebook itself is a weight of the model.
   * @throws WeightsMismatchError, and changes nothing, when it is of another codebook
   */
  load(state: EmaCodebookState): void {
    const { codes, width } = this.#quantizer;
    const expected: Record<string, number[]> = { counts: [codes], sums: [codes, width] };
    const names = Object.keys(expected);
    const missing = names.filter((name) => !(name in state));
    const unexpected = Object.keys(state).filter((name) => !names.includes(name));
    const mismatched = names
      .filter((name) => name in state && String(state[name]!.shape) !== String(expected[name]))
      .map((name) => ({
        name,
        expected: `[${expected[name]!.join(', ')}]`,
        got: `[${state[name]!.shape.join(', ')}]`,
      }));
    if (missing.length + unexpected.length + mismatched.length > 0) {
      throw new WeightsMismatchError('EmaCodebook', missing, unexpected, mismatched);
    }
    this.dispose();
    this.#counts = kept(tf.tensor1d(state.counts!.data));
    this.#sums = kept(tf.tensor2d(state.sums!.data, [codes, width]));
  }

  /** Frees the running counts and sums. */
  dispose(): void {
    tf.dispose([this.#counts, this.#sums]);
    if (this.#seen !== undefined) tf.dispose(this.#seen);
    this.#seen = undefined;
  }
}

/** A tensor that outlives the tidy in which it was made. */
function kept<T extends tf.Tensor>(tensor: T): T {
  return tf.keep(tensor);
}

/** gamma a + (1 - gamma) b. */
function mixed<T extends tf.Tensor>(a: T, b: T, decay: number): T {
  return tf.add<T>(tf.mul(a, decay), tf.mul(b, 1 - decay));
}
