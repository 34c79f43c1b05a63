import { Module, normal } from '@mezzotint/core';
import { type ActivationKind, activate, attention, joinHeads, LayerNorm, Linear, splitHeads } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { ClipTowerConfig } from './config.js';

/** Embeddings start as N(0, 0.02^2). Radford et al. 2021, section 2.4 (GPT-2's initialisation). */
export const embeddingInit = normal(0.02);

/** Self-attention of several heads. `[N, T, D] -> [N, T, D]`. */
class ClipAttention extends Module {
  readonly k_proj: Linear;
  readonly v_proj: Linear;
  readonly q_proj: Linear;
  readonly out_proj: Linear;
  readonly heads: number;

  constructor(width: number, heads: number) {
    super();
    this.heads = heads;
    this.k_proj = new Linear(width, width);
    this.v_proj = new Linear(width, width);
    this.q_proj = new Linear(width, width);
    this.out_proj = new Linear(width, width);
  }

  forward(x: tf.Tensor3D, mask?: tf.Tensor4D): tf.Tensor3D {
    return tf.tidy(() => {
      const q = splitHeads(this.q_proj.forward(x), this.heads); // [N, h, T, d]
      const k = splitHeads(this.k_proj.forward(x), this.heads);
      const v = splitHeads(this.v_proj.forward(x), this.heads);
      return this.out_proj.forward(joinHeads(attention(q, k, v, { mask })));
    });
  }
}

/** Two linear maps with a nonlinearity between. `[N, T, D] -> [N, T, D]`. */
class ClipMlp extends Module {
  readonly fc1: Linear;
  readonly fc2: Linear;
  readonly activation: ActivationKind;

  constructor({ width, mlpWidth, activation }: ClipTowerConfig) {
    super();
    this.activation = activation;
    this.fc1 = new Linear(width, mlpWidth);
    this.fc2 = new Linear(mlpWidth, width);
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => this.fc2.forward(activate(this.fc1.forward(x), this.activation)));
  }
}

/** Pre-norm transformer layer: y = x + attention(norm(x)), z = y + mlp(norm(y)). `[N, T, D] -> [N, T, D]`. */
class ClipLayer extends Module {
  readonly self_attn: ClipAttention;
  readonly layer_norm1: LayerNorm;
  readonly mlp: ClipMlp;
  readonly layer_norm2: LayerNorm;

  constructor(config: ClipTowerConfig) {
    super();
    const { width, heads, epsilon } = config;
    this.self_attn = new ClipAttention(width, heads);
    this.layer_norm1 = new LayerNorm(width, { epsilon });
    this.mlp = new ClipMlp(config);
    this.layer_norm2 = new LayerNorm(width, { epsilon });
  }

  forward(x: tf.Tensor3D, mask?: tf.Tensor4D): tf.Tensor3D {
    return tf.tidy(() => {
      const y: tf.Tensor3D = tf.add(x, this.self_attn.forward(this.layer_norm1.forward(x), mask));
      return tf.add(y, this.mlp.forward(this.layer_norm2.forward(y)));
    });
  }
}

/** The layers of a tower. */
export class ClipEncoder extends Module {
  readonly layers: readonly ClipLayer[];

  constructor(config: ClipTowerConfig) {
    super();
    this.layers = Array.from({ length: config.layers }, () => new ClipLayer(config));
  }

  /** x `[N, T, D]` -> the output of the last layer and that of the layer `skip` before it, `[N, T, D]` each. */
  forward(x: tf.Tensor3D, skip: number, mask?: tf.Tensor4D): { last: tf.Tensor3D; hidden: tf.Tensor3D } {
    return tf.tidy(() => {
      let last = x;
      let hidden = x;
      this.layers.forEach((layer, i) => {
        last = layer.forward(last, mask);
        if (i === this.layers.length - 1 - skip) hidden = last;
      });
      return { last, hidden: tf.clone(hidden) };
    });
  }
}
