import { Module, normal, ones, Param } from '@mezzotint/core';
import { Conv2d, gelu, joinHeads, Linear, linear, silu, splitHeads } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';

/** The reference's constructor arguments. */
export interface LucidrainsUViTConfig {
  readonly dim: number;
  readonly dim_mults: readonly number[];
  readonly channels: number;
  readonly vit_depth: number;
  readonly attn_dim_head: number;
  readonly attn_heads: number;
  readonly learned_sinusoidal_dim: number;
}

/** Heads of the linear attentions, and their channels. */
const [linearHeads, linearWidth] = [4, 32];

/**
 * lucidrains' U-ViT (denoising-diffusion-pytorch, simple_diffusion.py), the only public code of a network of simple diffusion's shape,
 * as a check of our schedules, losses and samplers by its numbers; it is no model of ours. It is not the paper's: linear attentions,
 * cosine attention, concatenated skips. `forward` is told the log-SNR; images NHWC.
 */
export class LucidrainsUViT extends Module {
  readonly time_mlp: { readonly 0: { readonly weights: Param }; readonly 1: Linear; readonly 3: Linear };
  readonly init_conv: Conv2d;
  readonly downs: readonly {
    readonly 0: ResnetBlock;
    readonly 1: ResnetBlock;
    readonly 2: LinearAttention;
    readonly 3: { readonly 1: Conv2d };
  }[];
  readonly vit: { readonly layers: readonly { readonly 0: CosineAttention; readonly 1: FeedForward }[] };
  readonly ups: readonly {
    readonly 0: { readonly net: { readonly 0: Conv2d } };
    readonly 1: ResnetBlock;
    readonly 2: ResnetBlock;
    readonly 3: LinearAttention;
  }[];
  readonly final_res_block: ResnetBlock;
  readonly final_conv: Conv2d;

  constructor({
    dim,
    dim_mults,
    channels,
    vit_depth,
    attn_dim_head,
    attn_heads,
    learned_sinusoidal_dim,
  }: LucidrainsUViTConfig) {
    super();
    const time = 4 * dim;
    this.time_mlp = {
      0: { weights: new Param([learned_sinusoidal_dim / 2], { init: normal(1) }) },
      1: new Linear(learned_sinusoidal_dim + 1, time),
      3: new Linear(time, time),
    };
    this.init_conv = new Conv2d(channels, dim, 7);
    const widths = [dim, ...dim_mults.map((factor) => factor * dim)];
    const levels = dim_mults.map((_, i) => [widths[i]!, widths[i + 1]!] as const);
    this.downs = levels.map(([from, to]) => ({
      0: new ResnetBlock(from, from, time),
      1: new ResnetBlock(from, from, time),
      2: new LinearAttention(from),
      3: { 1: new Conv2d(4 * from, to, 1) },
    }));
    const width = widths.at(-1)!;
    this.vit = {
      layers: Array.from({ length: vit_depth }, () => ({
        0: new CosineAttention(width, attn_heads, attn_dim_head),
        1: new FeedForward(width, time),
      })),
    };
    this.ups = levels.toReversed().map(([from, to]) => ({
      0: { net: { 0: new Conv2d(to, 4 * from, 1) } },
      1: new ResnetBlock(2 * from, from, time),
      2: new ResnetBlock(2 * from, from, time),
      3: new LinearAttention(from),
    }));
    this.final_res_block = new ResnetBlock(2 * dim, dim, time);
    this.final_conv = new Conv2d(dim, channels, 1);
  }

  /** x `[N, H, W, C]`, log-SNR `[N]` -> v `[N, H, W, C]`. */
  forward(x: tf.Tensor4D, logSnr: tf.Tensor1D): tf.Tensor4D {
    return tf.tidy(() => {
      const t = this.timeEmbedding(logSnr); //                                        [N, E]
      const stem = this.init_conv.forward(x);
      let h = stem;
      const skips: tf.Tensor4D[] = [];
      for (const { 0: first, 1: second, 2: attend, 3: down } of this.downs) {
        h = first.forward(h, t);
        skips.push(h);
        h = attend.forward(second.forward(h, t));
        skips.push(h);
        h = down[1].forward(unshuffled(h));
      }
      const [n, rows, columns, width] = h.shape;
      let tokens = tf.reshape(h, [n, rows * columns, width]) as tf.Tensor3D;
      for (const { 0: attend, 1: mlp } of this.vit.layers) {
        tokens = tf.add(tokens, attend.forward(tokens));
        tokens = tf.add(tokens, mlp.forward(tokens, t));
      }
      h = tf.reshape(tokens, [n, rows, columns, width]);
      for (const { 0: up, 1: first, 2: second, 3: attend } of this.ups) {
        h = shuffled(silu(up.net[0].forward(h)));
        h = first.forward(tf.concat([h, skips.pop()!], 3), t);
        h = attend.forward(second.forward(tf.concat([h, skips.pop()!], 3), t));
      }
      return this.final_conv.forward(this.final_res_block.forward(tf.concat([h, stem], 3), t));
    });
  }

  /** The log-SNR with sines and cosines of learned multiples of it, two layers: `[N] -> [N, E]`. */
  private timeEmbedding(logSnr: tf.Tensor1D): tf.Tensor2D {
    const x = tf.expandDims(logSnr, 1);
    const angles = tf.mul(tf.mul(x, this.time_mlp[0].weights.value), 2 * Math.PI);
    const features = tf.concat([x, tf.sin(angles), tf.cos(angles)], 1) as tf.Tensor2D;
    return this.time_mlp[3].forward(gelu(this.time_mlp[1].forward(features), 'erf'));
  }
}

/** x / |x| sqrt(C) g over the channels, the last axis. */
function rms<T extends tf.Tensor>(x: T, gain?: tf.Tensor): T {
  const length = tf.maximum(tf.sqrt(tf.sum(tf.square(x), -1, true)), 1e-12);
  const unit = tf.mul(tf.div(x, length), Math.sqrt(x.shape.at(-1)!)) as T;
  return gain ? tf.mul(unit, gain) : unit;
}

/** Each 2x2 pixels become channels, channel outermost: `[N, 2 H, 2 W, C] -> [N, H, W, 4 C]`. */
function unshuffled(x: tf.Tensor4D): tf.Tensor4D {
  const [n, h, w, c] = x.shape;
  const parts = tf.reshape(x, [n, h / 2, 2, w / 2, 2, c]);
  return tf.reshape(tf.transpose(parts, [0, 1, 3, 5, 2, 4]), [n, h / 2, w / 2, 4 * c]);
}

/** The way back: `[N, H, W, 4 C] -> [N, 2 H, 2 W, C]`. */
function shuffled(x: tf.Tensor4D): tf.Tensor4D {
  const [n, h, w, c] = x.shape;
  const parts = tf.reshape(x, [n, h, w, c / 4, 2, 2]);
  return tf.reshape(tf.transpose(parts, [0, 1, 4, 2, 5, 3]), [n, 2 * h, 2 * w, c / 4]);
}

/** silu(norm(conv(x)) (1 + scale) + shift), silu(norm(conv(·))), plus x. */
class ResnetBlock extends Module {
  readonly mlp: { readonly 1: Linear };
  readonly block1: ConvNorm;
  readonly block2: ConvNorm;
  readonly res_conv?: Conv2d;

  constructor(from: number, to: number, time: number) {
    super();
    this.mlp = { 1: new Linear(time, 2 * to) };
    this.block1 = new ConvNorm(from, to);
    this.block2 = new ConvNorm(to, to);
    if (from !== to) this.res_conv = new Conv2d(from, to, 1);
  }

  forward(x: tf.Tensor4D, t: tf.Tensor2D): tf.Tensor4D {
    const both = this.mlp[1].forward(silu(t));
    const [scale, shift] = tf.split(tf.reshape(both, [x.shape[0], 1, 1, -1]), 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    const first = silu(tf.add(tf.mul(this.block1.forward(x), tf.add(scale, 1)), shift) as tf.Tensor4D);
    return tf.add(silu(this.block2.forward(first)), this.res_conv?.forward(x) ?? x);
  }
}

class ConvNorm extends Module {
  readonly proj: Conv2d;
  readonly norm: { readonly g: Param };

  constructor(from: number, to: number) {
    super();
    this.proj = new Conv2d(from, to, 3);
    this.norm = { g: new Param([to], { init: ones }) };
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return rms(this.proj.forward(x), this.norm.g.value);
  }
}

/** Linear attention over the pixels: q (k^T v) with softmax of q over its channels and of k over pixels, plus x. */
class LinearAttention extends Module {
  readonly norm: { readonly g: Param };
  readonly to_qkv: Conv2d;
  readonly to_out: { readonly 0: Conv2d; readonly 1: { readonly g: Param } };

  constructor(width: number) {
    super();
    const inner = linearHeads * linearWidth;
    this.norm = { g: new Param([width], { init: ones }) };
    this.to_qkv = new Conv2d(width, 3 * inner, 1, { bias: false });
    this.to_out = { 0: new Conv2d(inner, width, 1), 1: { g: new Param([width], { init: ones }) } };
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    const [n, h, w] = x.shape;
    const qkv = tf.reshape(this.to_qkv.forward(rms(x, this.norm.g.value)), [n, h * w, -1]) as tf.Tensor3D;
    const [q, k, v] = (tf.split(qkv, 3, 2) as tf.Tensor3D[]).map((part) => splitHeads(part, linearHeads)); // [N, h, T, d]
    const queries = tf.mul(tf.softmax(q!), linearWidth ** -0.5);
    const keys = tf.softmax(tf.transpose(k!, [0, 1, 3, 2])); //                       [N, h, d, T]
    const out = tf.matMul(queries, tf.matMul(keys, v!)) as tf.Tensor4D; //            [N, h, T, d]
    const joined = tf.reshape(joinHeads(out), [n, h, w, -1]) as tf.Tensor4D;
    return tf.add(rms(this.to_out[0].forward(joined), this.to_out[1].g.value), x);
  }
}

/** Attention of unit q and k with learned factors, scores times 8. */
class CosineAttention extends Module {
  readonly norm: { readonly g: Param };
  readonly to_qkv: { readonly weight: Param };
  readonly q_scale: Param;
  readonly k_scale: Param;
  readonly to_out: { readonly weight: Param };
  readonly heads: number;

  constructor(width: number, heads: number, headWidth: number) {
    super();
    this.heads = heads;
    const matrix = (outputs: number, inputs: number) => ({
      weight: new Param([outputs, inputs], { init: normal(inputs ** -0.5) }),
    });
    this.norm = { g: new Param([width], { init: ones }) };
    this.to_qkv = matrix(3 * heads * headWidth, width);
    this.q_scale = new Param([headWidth], { init: ones });
    this.k_scale = new Param([headWidth], { init: ones });
    this.to_out = matrix(width, heads * headWidth);
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    const qkv = linear(rms(x, this.norm.g.value), this.to_qkv.weight.value as tf.Tensor2D, null);
    const [q, k, v] = (tf.split(qkv, 3, 2) as tf.Tensor3D[]).map((part) => splitHeads(part, this.heads));
    const unit = (t: tf.Tensor4D, scale: Param) => tf.mul(rms(t), tf.div(scale.value, Math.sqrt(t.shape[3])));
    const scores = tf.matMul(unit(q!, this.q_scale), unit(k!, this.k_scale), false, true);
    const out = tf.matMul(tf.softmax(tf.mul(scores, 8)), v!) as tf.Tensor4D;
    return linear(joinHeads(out), this.to_out.weight.value as tf.Tensor2D, null);
  }
}

/** An MLP whose hidden units are scaled and shifted by the time, as the paper's. */
class FeedForward extends Module {
  readonly proj_in: { readonly 0: Linear };
  readonly to_scale_shift: { readonly 1: Linear };
  readonly proj_out: { readonly 1: Linear };

  constructor(width: number, time: number) {
    super();
    this.proj_in = { 0: new Linear(width, 4 * width, { bias: false }) };
    this.to_scale_shift = { 1: new Linear(time, 8 * width) };
    this.proj_out = { 1: new Linear(4 * width, width, { bias: false }) };
  }

  forward(x: tf.Tensor3D, t: tf.Tensor2D): tf.Tensor3D {
    const both = tf.expandDims(this.to_scale_shift[1].forward(silu(t)), 1);
    const [scale, shift] = tf.split(both, 2, 2) as [tf.Tensor3D, tf.Tensor3D];
    const hidden = silu(this.proj_in[0].forward(rms(x)));
    return this.proj_out[1].forward(tf.add(tf.mul(hidden, tf.add(scale, 1)), shift) as tf.Tensor3D);
  }
}
