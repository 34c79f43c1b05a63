import { isSkipped, Module, Param, type RandomStream, uniform, zeros } from '@mezzotint/core';
import {
  attention,
  averagePool2x,
  Conv2d,
  dropout,
  GroupNorm,
  joinHeads,
  Linear,
  linear,
  silu,
  splitHeads,
  upsample2x,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { EncoderConfig } from './config.js';

/** What all blocks of one network have in common. */
export type BlockSettings = Pick<
  EncoderConfig,
  'modelChannels' | 'groups' | 'dropout' | 'timeConditioning' | 'attentionOrder'
>;

/** Which way a block changes the resolution. */
export type Resample = 'up' | 'down';

const resample = { up: upsample2x, down: averagePool2x } as const;

/** Width of the time embedding. DDPM, appendix B: a two-layer network of 4 C. */
export function embeddingWidth(modelChannels: number): number {
  return 4 * modelChannels;
}

/**
 * Residual block of ADM: x + conv(silu(norm(conv(silu(norm(x))), time))), both branches resampled before the first
 * convolution when `resample` is given (BigGAN's block; Dhariwal and Nichol 2021, section 3). `[N,H,W,Cin] -> [N,H',W',Cout]`.
 */
export class ResBlock extends Module {
  readonly in_layers: { readonly 0: GroupNorm; readonly 2: Conv2d };
  readonly emb_layers: { readonly 1: Linear };
  readonly out_layers: { readonly 0: GroupNorm; readonly 3: Conv2d };
  readonly skip_connection?: Conv2d;
  readonly resample: Resample | undefined;
  readonly dropout: number;
  readonly scaleShift: boolean;

  constructor(inChannels: number, outChannels: number, settings: BlockSettings, resample?: Resample) {
    super();
    const { modelChannels, groups } = settings;
    this.resample = resample;
    this.dropout = settings.dropout;
    this.scaleShift = settings.timeConditioning === 'scale-shift';
    const modulation = this.scaleShift ? 2 * outChannels : outChannels;
    this.in_layers = { 0: new GroupNorm(groups, inChannels), 2: new Conv2d(inChannels, outChannels, 3) };
    this.emb_layers = { 1: new Linear(embeddingWidth(modelChannels), modulation) };
    this.out_layers = { 0: new GroupNorm(groups, outChannels), 3: zeroConv(outChannels, outChannels, 3) };
    if (inChannels !== outChannels) this.skip_connection = new Conv2d(inChannels, outChannels, 1);
  }

  /** `emb` is silu(embedding), `[N, 4C]`, the same for every block. */
  forward(x: tf.Tensor4D, emb: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      const turn = this.resample === undefined ? <T>(y: T) => y : resample[this.resample];
      const inner = turn(silu(this.in_layers[0].forward(x)));
      const skip = turn(x); //                                                        [N, H', W', Cin]
      const h = this.in_layers[2].forward(inner); //                                  [N, H', W', Cout]
      const dropped = dropout(silu(this.condition(h, emb)), this.dropout, rng);
      const branch = this.out_layers[3].forward(dropped); //                          [N, H', W', Cout]
      return tf.add(this.skip_connection?.forward(skip) ?? skip, branch);
    });
  }

  /** AdaGN(h, y) = (1 + y_s) GroupNorm(h) + y_b (ADM, eq. in section 3), or GroupNorm(h + y) (DDPM). */
  private condition(h: tf.Tensor4D, emb: tf.Tensor2D): tf.Tensor4D {
    const y = this.emb_layers[1].forward(emb); //                                     [N, 2 Cout] or [N, Cout]
    const modulation = tf.reshape(y, [y.shape[0]!, 1, 1, y.shape[1]!]) as tf.Tensor4D;
    const norm = this.out_layers[0];
    if (!this.scaleShift) return norm.forward(tf.add(h, modulation));
    const [scale, shift] = tf.split(modulation, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    return tf.add(tf.mul(norm.forward(h), tf.add(scale, 1)), shift);
  }
}

/**
 * Self-attention over the pixels of a feature map with a residual connection: x + proj(attention(qkv(norm(x)))).
 * `[N,H,W,C] -> [N,H,W,C]`. DDPM, section 4; several heads since Improved DDPM.
 */
export class AttentionBlock extends Module {
  readonly norm: GroupNorm;
  readonly qkv: PointwiseConv1d;
  readonly proj_out: PointwiseConv1d;
  readonly heads: number;
  readonly order: 'new' | 'legacy';

  constructor(channels: number, heads: number, { groups, attentionOrder }: BlockSettings) {
    super();
    this.heads = heads;
    this.order = attentionOrder;
    this.norm = new GroupNorm(groups, channels);
    this.qkv = new PointwiseConv1d(channels, 3 * channels);
    this.proj_out = new PointwiseConv1d(channels, channels, 'zero');
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    if (isSkipped(this)) return tf.clone(x);
    return tf.tidy(() => {
      const [n, height, width, c] = x.shape;
      const tokens = tf.reshape(this.norm.forward(x), [n, height * width, c]); //     [N, T, C]
      const qkv = this.qkv.forward(tokens as tf.Tensor3D); //                         [N, T, 3C]
      const { q, k, v } = splitQkv(qkv, this.heads, this.order); //                   [N, h, T, d]
      const mixed = joinHeads(attention(q, k, v, { by: this })); //                   [N, T, C]
      return tf.add(x, tf.reshape(this.proj_out.forward(mixed), [n, height, width, c]));
    });
  }
}

/** Half the pixels a side: a convolution of stride 2 when `conv`, else the mean of 2x2 pixels. */
export class Downsample extends Module {
  readonly op?: Conv2d;

  constructor(channels: number, conv: boolean) {
    super();
    if (conv) this.op = new Conv2d(channels, channels, 3, { stride: 2 });
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return this.op?.forward(x) ?? averagePool2x(x);
  }
}

/** Twice the pixels a side by nearest neighbour, followed by a convolution when `conv`. */
export class Upsample extends Module {
  readonly conv?: Conv2d;

  constructor(channels: number, conv: boolean) {
    super();
    if (conv) this.conv = new Conv2d(channels, channels, 3);
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const up = upsample2x(x);
      return this.conv?.forward(up) ?? up;
    });
  }
}

/** A linear map of each token that checkpoints keep as a convolution of width 1, `[O, I, 1]`. `[N,T,I] -> [N,T,O]`. */
export class PointwiseConv1d extends Module {
  readonly weight: Param;
  readonly bias: Param;

  /** `start` `zero`: all zeros, so that a residual branch begins as the identity; else PyTorch's default. */
  constructor(inChannels: number, outChannels: number, start?: 'zero') {
    super();
    const init = start === 'zero' ? zeros : uniform(1 / Math.sqrt(inChannels));
    this.weight = new Param([outChannels, inChannels], { init, layout: 'conv1x1' });
    this.bias = new Param([outChannels], { init });
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return linear(x, this.weight.value as tf.Tensor2D, this.bias.value as tf.Tensor1D);
  }
}

/**
 * `[N, T, 3C]` -> q, k, v of `[N, h, T, d]` with d = C/h. The channels are ordered (q|k|v, head, d) in the `new` order
 * and (head, q|k|v, d) in the `legacy` one.
 */
export function splitQkv(qkv: tf.Tensor3D, heads: number, order: 'new' | 'legacy') {
  const parts =
    order === 'new'
      ? tf.split<tf.Tensor3D>(qkv, 3, 2).map((part) => splitHeads(part, heads))
      : tf.split(splitHeads(qkv, heads), 3, 3);
  const [q, k, v] = parts as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
  return { q, k, v };
}

/** A convolution that starts at zero, so that what follows it starts as the identity ("zero module"). */
export function zeroConv(inChannels: number, outChannels: number, kernel: number): Conv2d {
  return new Conv2d(inChannels, outChannels, kernel, { init: zeros });
}
