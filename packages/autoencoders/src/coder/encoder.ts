import { Module } from '@mezzotint/core';
import { Conv2d, type GroupNorm, silu } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { Downsample, MidBlock, norm, ResnetBlock } from './blocks.js';
import type { CoderConfig } from './config.js';

/**
 * Image to latent features: levels of residual blocks with a step down between them, attention in the middle. VQGAN
 * (Esser et al. 2021), table 7; latent diffusion (Rombach et al. 2022), appendix G.
 */
export class Encoder extends Module {
  readonly conv_in: Conv2d;
  readonly down_blocks: readonly DownBlock[];
  readonly mid_block: MidBlock;
  readonly conv_norm_out: GroupNorm;
  readonly conv_out: Conv2d;

  /** `channels`: of the result (a Gaussian has two for each latent channel). */
  constructor(config: CoderConfig, channels: number) {
    super();
    const { blockChannels: levels } = config;
    const bottom = levels.at(-1)!;
    this.conv_in = new Conv2d(config.inChannels, levels[0]!, 3);
    this.down_blocks = levels.map((width, level) => new DownBlock(levels[level - 1] ?? width, width, level, config));
    this.mid_block = new MidBlock(bottom, config);
    this.conv_norm_out = norm(bottom, config);
    this.conv_out = new Conv2d(bottom, channels, 3);
  }

  /** x `[N, H, W, inChannels]` -> `[N, H/f, W/f, channels]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      let h = this.conv_in.forward(x); //                                             [N, H, W, C0]
      for (const block of this.down_blocks) h = block.forward(h);
      h = this.mid_block.forward(h); //                                               [N, H/f, W/f, C_L]
      return this.conv_out.forward(silu(this.conv_norm_out.forward(h)));
    });
  }
}

/** Residual blocks of one level, and a step down but for the last level. */
class DownBlock extends Module {
  readonly resnets: readonly ResnetBlock[];
  readonly downsamplers: readonly Downsample[];

  constructor(inChannels: number, width: number, level: number, config: CoderConfig) {
    super();
    this.resnets = Array.from(
      { length: config.layersPerBlock },
      (_, i) => new ResnetBlock(i === 0 ? inChannels : width, width, config),
    );
    this.downsamplers = level < config.blockChannels.length - 1 ? [new Downsample(width)] : [];
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => [...this.resnets, ...this.downsamplers].reduce((h, layer) => layer.forward(h), x));
  }
}
