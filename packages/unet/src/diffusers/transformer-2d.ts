import { isSkipped, Module, type Recalling, recalled } from '@mezzotint/core';
import { attention, Conv2d, GroupNorm, gelu, joinHeads, LayerNorm, Linear, splitHeads } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { repeat } from './blocks.js';

/** What the transformers of one level share. */
export interface TransformerOptions {
  readonly heads: number;
  /** Blocks of each transformer. */
  readonly depth: number;
  /** Width of the context. */
  readonly context: number;
  /** Maps into and out of the blocks: linear, or convolutions of one pixel, which is the same sum in another shape. */
  readonly linearProjection: boolean;
  /** The first attention of a block sees the context too, not the pixels. */
  readonly onlyCrossAttention: boolean;
  readonly groups: number;
}

/** x + proj_out(blocks(proj_in(norm(x)))), the pixels as tokens. Rombach et al. 2022, appendix E.2.1. `[N,H,W,C] -> [N,H,W,C]`. */
export class Transformer2D extends Module {
  readonly norm: GroupNorm;
  readonly proj_in: Linear | Conv2d;
  readonly transformer_blocks: readonly BasicTransformerBlock[];
  readonly proj_out: Linear | Conv2d;

  constructor(channels: number, options: TransformerOptions) {
    super();
    const projection = () =>
      options.linearProjection ? new Linear(channels, channels) : new Conv2d(channels, channels, 1);
    this.norm = new GroupNorm(options.groups, channels, { epsilon: 1e-6 });
    this.proj_in = projection();
    this.transformer_blocks = repeat(options.depth, () => new BasicTransformerBlock(channels, options));
    this.proj_out = projection();
  }

  /** context `[N, S, D]`. */
  forward(x: tf.Tensor4D, context: tf.Tensor3D): tf.Tensor4D {
    if (isSkipped(this)) return tf.clone(x);
    return tf.tidy(() => {
      const [n, height, width, c] = x.shape;
      const inner = this.proj_in.forward(this.norm.forward(x)); //                    [N, H, W, C]
      let h = tf.reshape(inner, [n, height * width, c]) as tf.Tensor3D; //            [N, T, C]
      for (const block of this.transformer_blocks) h = block.forward(h, context);
      return tf.add(x, this.proj_out.forward(tf.reshape(h, x.shape) as tf.Tensor4D));
    });
  }
}

/** Self-attention, attention to the context, GEGLU; each on its normalised input and added to it. `[N,T,C] -> [N,T,C]`. */
class BasicTransformerBlock extends Module implements Recalling {
  readonly norm1: LayerNorm;
  readonly attn1: CrossAttention;
  readonly norm2: LayerNorm;
  readonly attn2: CrossAttention;
  readonly norm3: LayerNorm;
  readonly ff: { readonly net: { readonly 0: Geglu; readonly 2: Linear } };
  readonly onlyCrossAttention: boolean;

  constructor(width: number, { heads, context, onlyCrossAttention }: TransformerOptions) {
    super();
    this.onlyCrossAttention = onlyCrossAttention;
    this.norm1 = new LayerNorm(width);
    this.attn1 = new CrossAttention(width, onlyCrossAttention ? context : width, heads);
    this.norm2 = new LayerNorm(width);
    this.attn2 = new CrossAttention(width, context, heads);
    this.norm3 = new LayerNorm(width);
    this.ff = { net: { 0: new Geglu(width, 4 * width), 2: new Linear(4 * width, width) } };
  }

  recall(context: tf.Tensor3D): void {
    this.attn2.keysAndValues(context);
    if (this.onlyCrossAttention) this.attn1.keysAndValues(context);
  }

  forward(x: tf.Tensor3D, context: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const normed = this.norm1.forward(x);
      const a = tf.add(x, this.attn1.forward(normed, this.onlyCrossAttention ? context : normed)) as tf.Tensor3D;
      const b = tf.add(a, this.attn2.forward(this.norm2.forward(a), context)) as tf.Tensor3D;
      const { net } = this.ff;
      return tf.add(b, net[2].forward(net[0].forward(this.norm3.forward(b))));
    });
  }
}

/** out(softmax(q k^T / sqrt(d)) v), q from x and k, v from the context. `[N,T,C], [N,S,D] -> [N,T,C]`. */
class CrossAttention extends Module {
  readonly to_q: Linear;
  readonly to_k: Linear;
  readonly to_v: Linear;
  readonly to_out: readonly [Linear];
  readonly heads: number;

  constructor(width: number, context: number, heads: number) {
    super();
    this.heads = heads;
    this.to_q = new Linear(width, width, { bias: false });
    this.to_k = new Linear(context, width, { bias: false });
    this.to_v = new Linear(context, width, { bias: false });
    this.to_out = [new Linear(width, width)];
  }

  forward(x: tf.Tensor3D, context: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const q = splitHeads(this.to_q.forward(x), this.heads); //                      [N, h, T, d]
      const [k, v] = this.keysAndValues(context); //                                  [N, h, S, d]
      return this.to_out[0].forward(joinHeads(attention(q, k, v, { by: this })));
    });
  }

  /** Of a text, the same at every step. `[N, S, D] -> 2 x [N, h, S, d]`. */
  keysAndValues(context: tf.Tensor3D): readonly [tf.Tensor4D, tf.Tensor4D] {
    return recalled(this, context, () => [
      splitHeads(this.to_k.forward(context), this.heads),
      splitHeads(this.to_v.forward(context), this.heads),
    ]);
  }
}

/** a gelu(b) with [a, b] = proj(x). Shazeer 2020, eq. 6. `[N,T,C] -> [N,T,D]`. */
class Geglu extends Module {
  readonly proj: Linear;

  constructor(width: number, hidden: number) {
    super();
    this.proj = new Linear(width, 2 * hidden);
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const [value, gate] = tf.split(this.proj.forward(x), 2, 2) as [tf.Tensor3D, tf.Tensor3D];
      return tf.mul(value, gelu(gate, 'erf'));
    });
  }
}
