import { constant, InvalidArgumentError, Module, Param, type StateDict } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** A table of token vectors as text encoders have it: weight `[V, D]`, and ids int32 `[N, T]` to `[N, T, D]`. */
export interface TokenEmbedding {
  readonly weight: Param;
  forward(ids: tf.Tensor): tf.Tensor;
}

/**
 * New tokens of a frozen text encoder, whose vectors are all that is trained: textual inversion (Gal et al. 2023, section 3.2).
 * The tokens have the ids V, V + 1, ... behind the table's V rows; give them to the tokenizer as an added token.
 *
 * `start` sets the vectors to those of known tokens. Train the parameters (`adamW(inversion)`) by a loss that encodes its prompts
 * inside `apply`; the table itself gets no gradient.
 */
export class TextualInversion extends Module {
  /** `[n, D]` */
  readonly vectors: Param;
  readonly #embedding: TokenEmbedding;

  /**
   * @param count vectors that the token has
   * @throws InvalidArgumentError when the embedding is no table, or `count` is no positive integer
   */
  constructor(embedding: TokenEmbedding, count = 1) {
    super();
    const { shape } = embedding.weight;
    const problems: string[] = [];
    if (shape.length !== 2) problems.push(`expected a table [V, D], got [${shape.join(', ')}]`);
    if (!Number.isSafeInteger(count) || count < 1) problems.push(`count must be a positive integer, got ${count}`);
    if (problems.length > 0) throw new InvalidArgumentError('TextualInversion', problems);
    this.#embedding = embedding;
    this.vectors = new Param([count, shape[1]!], { init: constant(0) });
  }

  /** Ids of the new tokens, for the tokenizer. */
  get ids(): readonly number[] {
    const [vocabulary] = this.#embedding.weight.shape;
    return Array.from({ length: this.vectors.shape[0]! }, (_, i) => vocabulary! + i);
  }

  /**
   * Sets the vectors to those of tokens that the table has: one for each, or one for all.
   *
   * @throws InvalidArgumentError when they are another number, or not in the table
   */
  start(ids: readonly number[]): void {
    const { weight } = this.#embedding;
    const [count, vocabulary] = [this.vectors.shape[0]!, weight.shape[0]!];
    const problems: string[] = [];
    if (ids.length !== 1 && ids.length !== count) problems.push(`expected 1 or ${count} ids, got ${ids.length}`);
    for (const id of ids) {
      if (!Number.isInteger(id) || id < 0 || id >= vocabulary)
        problems.push(`expected ids in [0, ${vocabulary}), got ${id}`);
    }
    if (problems.length > 0) throw new InvalidArgumentError('TextualInversion.start', problems);
    const rows = tf.tidy(() => {
      const chosen = Array.from({ length: count }, (_, i) => ids[ids.length === 1 ? 0 : i]!);
      return tf.gather(weight.variable, tf.tensor1d(chosen, 'int32'));
    });
    if (!this.vectors.hasValue) this.init(0);
    this.vectors.variable.assign(rows);
    rows.dispose();
  }

  /** Runs `body`, which must be synchronous, with an embedding that knows the new tokens; gradients reach their vectors. */
  apply<T>(body: () => T): T {
    const undo = this.#install();
    try {
      return body();
    } finally {
      undo();
    }
  }

  /** Runs `body` with an embedding that knows the new tokens, to encode prompts with them. */
  async withMergedWeights<T>(body: () => T | Promise<T>): Promise<T> {
    const undo = this.#install();
    try {
      return await body();
    } finally {
      undo();
    }
  }

  /**
   * The vectors in a file's layout. `diffusers`: one tensor by the token's name, `[D]`, or `[n, D]` for several vectors;
   * `a1111`: `emb_params` `[n, D]`, the token being the file's name.
   */
  async stateDictFor(layout: 'diffusers' | 'a1111', token: string): Promise<StateDict> {
    const { shape, data } = await this.vectors.toHost();
    if (layout === 'a1111') return { emb_params: { shape, data } };
    return { [token]: { shape: shape[0] === 1 ? [shape[1]!] : shape, data } };
  }

  #install(): () => void {
    const embedding = this.#embedding;
    const own = Object.getOwnPropertyDescriptor(embedding, 'forward');
    const known = embedding.forward;
    embedding.forward = (ids) => this.#lookup(ids, (inTable) => known.call(embedding, inTable));
    return () => {
      if (own === undefined) delete (embedding as { forward?: unknown }).forward;
      else Object.defineProperty(embedding, 'forward', own);
    };
  }

  /** `[N, T] -> [N, T, D]`: rows of the table, or, for ids from V on, the new vectors. */
  #lookup(ids: tf.Tensor, known: (ids: tf.Tensor) => tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const vocabulary = this.#embedding.weight.shape[0]!;
      const count = this.vectors.shape[0]!;
      const rows = known(tf.minimum(ids, tf.scalar(vocabulary - 1, 'int32'))); //             [N, T, D]
      const place = tf.reshape(tf.sub(ids, tf.scalar(vocabulary, 'int32')), [-1, 1]); //      [N T, 1]
      const which = tf.cast(tf.equal(place, tf.range(0, count, 1, 'int32')), 'float32'); //   [N T, n]
      const added = tf.reshape(tf.matMul(which as tf.Tensor2D, this.vectors.value as tf.Tensor2D), rows.shape);
      const isKnown = tf.reshape(tf.sub(1, tf.sum(which, 1)), [...ids.shape, 1]);
      return tf.add(tf.mul(rows, isKnown), added);
    });
  }
}
