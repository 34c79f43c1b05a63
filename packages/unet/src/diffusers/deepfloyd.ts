import { isSkipped, Module, normal, Param, type Recalling, recalled } from '@mezzotint/core';
import { attention, GroupNorm, joinHeads, LayerNorm, Linear, splitHeads } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';

/** What an {@link AddedKvAttention} is made of. */
export interface AddedKvOptions {
  readonly heads: number;
  /** Width of the context. */
  readonly context: number;
  /** Norm of the context: LayerNorm, GroupNorm of 32 groups over all tokens, or nothing. */
  readonly contextNorm: 'layer' | 'group' | null;
  /** Pixels see the context, not each other. */
  readonly onlyCrossAttention: boolean;
  readonly groups: number;
}

/** Groups of the context's GroupNorm in every published model. */
const CONTEXT_GROUPS = 32;

/**
 * x + to_out(softmax(q [k_text, k]^T / sqrt(d)) [v_text, v]): pixels attend to the text and to each other in one attention, with keys
 * and values of the text's own. Nichol et al. 2021 (GLIDE), section 3.1; DeepFloyd IF. `[N,H,W,C], [N,S,D] -> [N,H,W,C]`.
 */
export class AddedKvAttention extends Module implements Recalling {
  readonly group_norm: GroupNorm;
  readonly norm_cross?: GroupNorm | LayerNorm;
  readonly to_q: Linear;
  readonly to_k?: Linear;
  readonly to_v?: Linear;
  readonly add_k_proj: Linear;
  readonly add_v_proj: Linear;
  readonly to_out: readonly [Linear];
  readonly heads: number;

  constructor(channels: number, { heads, context, contextNorm, onlyCrossAttention, groups }: AddedKvOptions) {
    super();
    this.heads = heads;
    this.group_norm = new GroupNorm(groups, channels);
    if (contextNorm === 'group') this.norm_cross = new GroupNorm(CONTEXT_GROUPS, context);
    if (contextNorm === 'layer') this.norm_cross = new LayerNorm(context);
    this.to_q = new Linear(channels, channels);
    if (!onlyCrossAttention) {
      this.to_k = new Linear(channels, channels);
      this.to_v = new Linear(channels, channels);
    }
    this.add_k_proj = new Linear(context, channels);
    this.add_v_proj = new Linear(context, channels);
    this.to_out = [new Linear(channels, channels)];
  }

  recall(context: tf.Tensor3D): void {
    this.keysAndValues(context);
  }

  /** Of the text, the same at every step. `[N, S, D] -> 2 x [N, h, S, d]`. */
  private keysAndValues(context: tf.Tensor3D): readonly [tf.Tensor4D, tf.Tensor4D] {
    return recalled(this, context, () => {
      const text = this.norm_cross?.forward(context) ?? context; //                   [N, S, D]
      return [
        splitHeads(this.add_k_proj.forward(text), this.heads),
        splitHeads(this.add_v_proj.forward(text), this.heads),
      ];
    });
  }

  forward(x: tf.Tensor4D, context: tf.Tensor3D): tf.Tensor4D {
    if (isSkipped(this)) return tf.clone(x);
    return tf.tidy(() => {
      const [n, height, width, c] = x.shape;
      const pixels = tf.reshape(this.group_norm.forward(x), [n, height * width, c]) as tf.Tensor3D; // [N, T, C]
      const both = (added: tf.Tensor4D, own: Linear | undefined) =>
        own === undefined ? added : tf.concat([added, splitHeads(own.forward(pixels), this.heads)], 2);
      const q = splitHeads(this.to_q.forward(pixels), this.heads); //                 [N, h, T, d]
      const [k, v] = this.keysAndValues(context); //                                  [N, h, S, d]
      const mixed = attention(q, both(k, this.to_k), both(v, this.to_v), { by: this }); // of [N, h, S + T, d]
      return tf.add(x, tf.reshape(this.to_out[0].forward(joinHeads(mixed)), x.shape));
    });
  }
}

/** The text as one vector beside the time: norm2(proj(pool(norm1(states)))). DeepFloyd IF. `[N,S,D] -> [N,E]`. */
export class TextTimeEmbedding extends Module {
  readonly norm1: LayerNorm;
  readonly pool: AttentionPooling;
  readonly proj: Linear;
  readonly norm2: LayerNorm;

  constructor(textWidth: number, width: number, heads: number) {
    super();
    this.norm1 = new LayerNorm(textWidth);
    this.pool = new AttentionPooling(textWidth, heads);
    this.proj = new Linear(textWidth, width);
    this.norm2 = new LayerNorm(width);
  }

  forward(states: tf.Tensor3D): tf.Tensor2D {
    return tf.tidy(() => this.norm2.forward(this.proj.forward(this.pool.forward(this.norm1.forward(states)))));
  }
}

/** What the mean of the tokens, with an embedding of its own, sees among itself and the tokens. CLIP's pooling (Radford et al. 2021). `[N,S,D] -> [N,D]`. */
class AttentionPooling extends Module {
  readonly positional_embedding: Param;
  readonly k_proj: Linear;
  readonly q_proj: Linear;
  readonly v_proj: Linear;
  readonly heads: number;

  constructor(width: number, heads: number) {
    super();
    this.heads = heads;
    this.positional_embedding = new Param([1, width], { init: normal(1 / Math.sqrt(width)) });
    this.k_proj = new Linear(width, width);
    this.q_proj = new Linear(width, width);
    this.v_proj = new Linear(width, width);
  }

  forward(x: tf.Tensor3D): tf.Tensor2D {
    return tf.tidy(() => {
      const query = tf.add(tf.mean(x, 1, true), this.positional_embedding.value) as tf.Tensor3D; // [N, 1, D]
      const all = tf.concat([query, x], 1) as tf.Tensor3D; //                         [N, 1 + S, D]
      const q = splitHeads(this.q_proj.forward(query), this.heads); //                [N, h, 1, d]
      const k = splitHeads(this.k_proj.forward(all), this.heads); //                  [N, h, 1 + S, d]
      const v = splitHeads(this.v_proj.forward(all), this.heads);
      return tf.squeeze(joinHeads(attention(q, k, v, { by: this })), [1]) as tf.Tensor2D;
    });
  }
}
