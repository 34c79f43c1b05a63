import { type Initializer, Module, normal, Param } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';
import { embeddingLookup } from '../ops/embedding-lookup.js';

export interface EmbeddingOptions {
  /** N(0, 1) when absent, as in PyTorch. */
  readonly init?: Initializer;
}

/** A learned row for each id. State: `weight` `[count, width]`. */
export class Embedding extends Module {
  readonly weight: Param;

  constructor(count: number, width: number, { init = normal(1) }: EmbeddingOptions = {}) {
    super();
    this.weight = new Param([count, width], { init });
  }

  /** ids int32 `[...]` -> `[..., width]`. */
  forward(ids: tf.Tensor1D): tf.Tensor2D;
  forward(ids: tf.Tensor2D): tf.Tensor3D;
  forward(ids: tf.Tensor): tf.Tensor;
  forward(ids: tf.Tensor): tf.Tensor {
    return embeddingLookup(this.weight.value, ids);
  }
}
