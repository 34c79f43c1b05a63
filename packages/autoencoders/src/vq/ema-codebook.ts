import {
  type HostTensor,
  InvalidArgumentError,
  MezzotintError,
  type RandomStream,
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
  /**
   * A code whose running count falls below this is dead: it is put at a random latent pixel of the last batch. Jukebox
   * (Dhariwal et al. 2020), section 3.1. 0, never, when absent. A code that is one of K in batches of M pixels counts M / K.
   */
  readonly reviveBelow?: number;
}

/** What must be saved to go on: `counts` `[K]` and `sums` `[K, D]`. */
export type EmaCodebookState = StateDict;

/**
 * Moves each code to the running mean of what was assigned to it, instead of by a gradient. van den Oord et al. 2017,
 * appendix A.1: N_k <- gamma N_k + (1 - gamma) n_k, m_k <- gamma m_k + (1 - gamma) sum z, e_k = m_k / N_k.
 *
 * Call `observe` in the loss of every batch and `update` after every update of the weights (`afterUpdate` of
 * `@mezzotint/training`), and leave `codebookLoss` out. The means begin at the codes that the quantizer has at the first `observe` or
 * `save`, unless a state was loaded, so that weights may be loaded after this is made. Owns tensors until `dispose`.
 */
export class EmaCodebook {
  readonly #quantizer: VectorQuantizer;
  readonly #decay: number;
  readonly #epsilon: number;
  readonly #reviveBelow: number;
  /** Undefined until they begin. */
  #running: Running | undefined;
  #seen: Seen | undefined;

  /** @throws InvalidArgumentError when decay is not in [0, 1), epsilon is not above 0 or reviveBelow is below 0 */
  constructor(quantizer: VectorQuantizer, { decay = 0.99, epsilon = 1e-5, reviveBelow = 0 }: EmaCodebookOptions = {}) {
    const problems: string[] = [];
    if (!(decay >= 0 && decay < 1)) problems.push(`decay: expected a number in [0, 1), got ${decay}`);
    if (!(epsilon > 0)) problems.push(`epsilon: expected a number above 0, got ${epsilon}`);
    if (!(reviveBelow >= 0)) problems.push(`reviveBelow: expected a number of at least 0, got ${reviveBelow}`);
    if (problems.length > 0) throw new InvalidArgumentError('EmaCodebook', problems);
    this.#quantizer = quantizer;
    this.#decay = decay;
    this.#epsilon = epsilon;
    this.#reviveBelow = reviveBelow;
  }

  /** The running counts and sums, which begin here if they have not yet: each code at itself, counted once. */
  #begun(): Running {
    const { codes, embedding } = this.#quantizer;
    this.#running ??= {
      counts: kept(tf.ones<tf.Rank.R1>([codes])),
      sums: kept(tf.clone(embedding.weight.value as tf.Tensor2D)),
    };
    return this.#running;
  }

  /** Takes note of a batch: z `[N, h, w, D]` and its `nearest(z)`, int32 `[N, h, w]`. Batches add up until `update`. */
  observe(z: tf.Tensor4D, indices: tf.Tensor3D): void {
    const { codes, width } = this.#quantizer;
    this.#begun();
    const before = this.#seen;
    this.#seen = tf.tidy(() => {
      const chosen = tf.cast(tf.oneHot(tf.reshape(indices, [-1]), codes), 'float32') as tf.Tensor2D; // [M, K]
      const counts = tf.sum<tf.Tensor1D>(chosen, 0);
      const pixels = tf.reshape(z, [-1, width]) as tf.Tensor2D; //                               [M, D]
      const sums = tf.matMul<tf.Tensor2D>(chosen, pixels, true, false); //                       [K, D]
      return {
        ...(this.#reviveBelow > 0 ? { pixels: kept(tf.clone(pixels)) } : {}),
        counts: kept(before === undefined ? counts : tf.add<tf.Tensor1D>(before.counts, counts)),
        sums: kept(before === undefined ? sums : tf.add<tf.Tensor2D>(before.sums, sums)),
      };
    });
    if (before !== undefined) tf.dispose({ ...before });
  }

  /**
   * Moves the codebook by what was observed since the last call. Throws a MezzotintError when that is nothing.
   * @param rng chooses where dead codes go
   * @throws InvalidArgumentError without `rng` when `reviveBelow` is above 0
   */
  update(rng?: RandomStream): void {
    const seen = this.#seen;
    if (seen === undefined) {
      throw new MezzotintError('MEZZOTINT_NOTHING_OBSERVED', 'EmaCodebook: call observe in the loss before update.');
    }
    if (this.#reviveBelow > 0 && rng === undefined) {
      throw new InvalidArgumentError('EmaCodebook', 'rng: expected a random stream, which reviveBelow needs');
    }
    const before = this.#begun();
    this.#running = tf.tidy(() => {
      const counts = mixed(before.counts, seen.counts, this.#decay);
      const sums = mixed(before.sums, seen.sums, this.#decay);
      const alive = seen.pixels === undefined ? { counts, sums } : this.#revived(counts, sums, seen.pixels, rng!);
      // Laplace smoothing: (N_k + epsilon) / (sum N + K epsilon) sum N.
      const total = tf.sum(alive.counts);
      const share = tf.div(tf.add(alive.counts, this.#epsilon), tf.add(total, this.#quantizer.codes * this.#epsilon));
      const smooth = tf.mul(share, total);
      this.#quantizer.embedding.weight.variable.assign(tf.div(alive.sums, tf.expandDims(smooth, 1)));
      return { counts: kept(alive.counts), sums: kept(alive.sums) };
    });
    this.#seen = undefined;
    tf.dispose([{ ...before }, { ...seen }]);
  }

  /** Each dead code at one of `pixels` `[M, D]`, with the count of one that is just alive. */
  #revived(counts: tf.Tensor1D, sums: tf.Tensor2D, pixels: tf.Tensor2D, rng: RandomStream) {
    const { codes } = this.#quantizer;
    const least = this.#reviveBelow;
    const chosen = Int32Array.from(rng.rand(codes), (u) => Math.floor(u * pixels.shape[0]));
    const places = tf.mul<tf.Tensor2D>(tf.gather(pixels, tf.tensor1d(chosen, 'int32')), least);
    const dead = tf.less(counts, least) as tf.Tensor1D;
    return {
      counts: tf.where(dead, tf.fill<tf.Rank.R1>([codes], least), counts),
      sums: tf.where(tf.tile(tf.expandDims(dead, 1), [1, pixels.shape[1]]), places, sums) as tf.Tensor2D,
    };
  }

  /** The running counts and sums. What was observed since the last `update` is not part of it. */
  async save(): Promise<EmaCodebookState> {
    const host = async (t: tf.Tensor): Promise<HostTensor> => ({
      shape: [...t.shape],
      data: (await t.data()) as Float32Array,
    });
    const { counts, sums } = this.#begun();
    return { counts: await host(counts), sums: await host(sums) };
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
    this.#running = {
      counts: kept(tf.tensor1d(state.counts!.data)),
      sums: kept(tf.tensor2d(state.sums!.data, [codes, width])),
    };
  }

  /** Frees the running counts and sums. */
  dispose(): void {
    tf.dispose([{ ...this.#running }, { ...this.#seen }]);
    this.#running = undefined;
    this.#seen = undefined;
  }
}

/** Counts `[K]` and sums `[K, D]` of what was assigned to each code. */
interface Running {
  readonly counts: tf.Tensor1D;
  readonly sums: tf.Tensor2D;
}

/** What was observed since the last update; `pixels` of the last batch, when dead codes need them. */
interface Seen extends Running {
  readonly pixels?: tf.Tensor2D;
}

/** A tensor that outlives the tidy in which it was made. */
function kept<T extends tf.Tensor>(tensor: T): T {
  return tf.keep(tensor);
}

/** gamma a + (1 - gamma) b. */
function mixed<T extends tf.Tensor>(a: T, b: T, decay: number): T {
  return tf.add<T>(tf.mul(a, decay), tf.mul(b, 1 - decay));
}
