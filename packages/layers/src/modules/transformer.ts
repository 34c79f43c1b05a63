import { Module } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { type GeluKind, gelu } from '../ops/activations.js';
import { attention } from '../ops/attention.js';
import { joinHeads, splitHeads } from '../ops/heads.js';
import { Linear } from './linear.js';

/** Makes the linear maps of a block, with the model's own initialisers. */
export type MakeLinear = (inputs: number, outputs: number, bias: boolean) => Linear;

const plain: MakeLinear = (inputs, outputs, bias) => new Linear(inputs, outputs, { bias });

export interface SelfAttentionOptions {
  /** Biases of the maps to q, k and v; true when absent. */
  readonly qkvBias?: boolean;
  /** PyTorch's `Linear` when absent. */
  readonly dense?: MakeLinear;
}

/**
 * Multi-head self-attention with q, k and v in one map, as in ViT. Vaswani et al. 2017, section 3.2.2. State: `qkv.weight`
 * `[3 D, D]`, `qkv.bias`, `proj.weight` `[D, D]`, `proj.bias`.
 */
export class SelfAttention extends Module {
  readonly qkv: Linear;
  readonly proj: Linear;
  readonly heads: number;

  constructor(width: number, heads: number, { qkvBias = true, dense = plain }: SelfAttentionOptions = {}) {
    super();
    this.heads = heads;
    this.qkv = dense(width, 3 * width, qkvBias);
    this.proj = dense(width, width, true);
  }

  /** x `[N, T, D]` -> `[N, T, D]`. */
  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const parts = tf.split(this.qkv.forward(x), 3, 2) as tf.Tensor3D[]; //    3 x [N, T, D]
      const [q, k, v] = parts.map((part) => splitHeads(part, this.heads)); //   [N, h, T, d]
      return this.proj.forward(joinHeads(attention(q!, k!, v!, { by: this })));
    });
  }
}

export interface MlpOptions {
  /** Which GELU lies between the layers. */
  readonly activation: GeluKind;
  /** PyTorch's `Linear` when absent. */
  readonly dense?: MakeLinear;
}

/** Two linear layers with GELU between. State: `fc1.weight` `[hidden, D]`, `fc1.bias`, `fc2.weight` `[D, hidden]`, `fc2.bias`. */
export class Mlp extends Module {
  readonly fc1: Linear;
  readonly fc2: Linear;
  readonly activation: GeluKind;

  constructor(width: number, hidden: number, { activation, dense = plain }: MlpOptions) {
    super();
    this.activation = activation;
    this.fc1 = dense(width, hidden, true);
    this.fc2 = dense(hidden, width, true);
  }

  /** x `[N, T, D]` -> `[N, T, D]`. */
  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => this.fc2.forward(gelu(this.fc1.forward(x), this.activation)));
  }
}
