import { Module } from '@mezzotint/core';
import { attention, Conv2d, GroupNorm, Linear, silu, upsample2x } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { CoderConfig } from './config.js';

/** What all blocks of one coder have in common. */
export type BlockSettings = Pick<CoderConfig, 'groups' | 'midAttention'>;

/** Epsilon of every GroupNorm of these autoencoders. */
const epsilon = 1e-6;

/** GroupNorm as all of these autoencoders have it. */
export function norm(channels: number, { groups }: Pick<CoderConfig, 'groups'>): GroupNorm {
  return new GroupNorm(groups, channels, { epsilon });
}

/** x + conv(silu(norm(conv(silu(norm(x)))))): the residual block of VQGAN (Esser et al. 2021). `[N,H,W,Cin] -> [N,H,W,Cout]`. */
export class ResnetBlock extends Module {
  readonly norm1: GroupNorm;
  readonly conv1: Conv2d;
  readonly norm2: GroupNorm;
  readonly conv2: Conv2d;
  readonly conv_shortcut?: Conv2d;

  constructor(inChannels: number, outChannels: number, settings: BlockSettings) {
    super();
    this.norm1 = norm(inChannels, settings);
    this.conv1 = new Conv2d(inChannels, outChannels, 3);
    this.norm2 = norm(outChannels, settings);
    this.conv2 = new Conv2d(outChannels, outChannels, 3);
    if (inChannels !== outChannels) this.conv_shortcut = new Conv2d(inChannels, outChannels, 1);
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const h = this.conv1.forward(silu(this.norm1.forward(x))); //                   [N, H, W, Cout]
      const branch = this.conv2.forward(silu(this.norm2.forward(h)));
      return tf.add(this.conv_shortcut?.forward(x) ?? x, branch);
    });
  }
}

/** x + out(attention(q, k, v of norm(x))) over all pixels, one head. `[N,H,W,C] -> [N,H,W,C]`. */
export class AttentionBlock extends Module {
  readonly group_norm: GroupNorm;
  readonly to_q: Linear;
  readonly to_k: Linear;
  readonly to_v: Linear;
  readonly to_out: readonly [Linear];

  constructor(channels: number, settings: BlockSettings) {
    super();
    this.group_norm = norm(channels, settings);
    this.to_q = new Linear(channels, channels);
    this.to_k = new Linear(channels, channels);
    this.to_v = new Linear(channels, channels);
    this.to_out = [new Linear(channels, channels)];
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const [n, height, width, c] = x.shape;
      const tokens = tf.reshape(this.group_norm.forward(x), [n, 1, height * width, c]) as tf.Tensor4D; // [N, 1, T, C]
      const mixed = attention(this.to_q.forward(tokens), this.to_k.forward(tokens), this.to_v.forward(tokens));
      return tf.add(x, tf.reshape(this.to_out[0].forward(mixed), x.shape));
    });
  }
}

/** Residual block, attention if any, residual block. `[N,H,W,C] -> [N,H,W,C]`. */
export class MidBlock extends Module {
  readonly attentions: readonly AttentionBlock[];
  readonly resnets: readonly [ResnetBlock, ResnetBlock];

  constructor(channels: number, settings: BlockSettings) {
    super();
    this.attentions = settings.midAttention ? [new AttentionBlock(channels, settings)] : [];
    this.resnets = [new ResnetBlock(channels, channels, settings), new ResnetBlock(channels, channels, settings)];
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const h = this.resnets[0].forward(x);
      return this.resnets[1].forward(this.attentions[0]?.forward(h) ?? h);
    });
  }
}

/** A convolution of stride 2, whose zeros are at the bottom and the right only. `[N,H,W,C] -> [N,H/2,W/2,C]`. */
export class Downsample extends Module {
  readonly conv: Conv2d;

  constructor(channels: number) {
    super();
    const padding = [
      [0, 1],
      [0, 1],
    ] as const;
    this.conv = new Conv2d(channels, channels, 3, { stride: 2, padding });
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return this.conv.forward(x);
  }
}

/** Nearest neighbour and a convolution. `[N,H,W,C] -> [N,2H,2W,C]`. */
export class Upsample extends Module {
  readonly conv: Conv2d;

  constructor(channels: number) {
    super();
    this.conv = new Conv2d(channels, channels, 3);
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.conv.forward(upsample2x(x)));
  }
}
