import { Module } from '@mezzotint/core';
import { Conv2d, type GroupNorm, silu } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { MidBlock, norm, ResnetBlock, Upsample } from './blocks.js';
import type { CoderConfig } from './config.js';

/**
 * Latent image to image: attention in the middle, then levels of residual blocks with a step up between them. VQGAN
 * (Esser et al. 2021), table 7; latent diffusion (Rombach et al. 2022), appendix G.
 */
export class Decoder extends Module {
  readonly conv_in: Conv2d;
  readonly up_blocks: readonly UpBlock[];
  readonly mid_block: MidBlock;
  readonly conv_norm_out: GroupNorm;
  readonly conv_out: Conv2d;

  constructor(config: CoderConfig) {
    super();
    const widths = config.blockChannels.toReversed();
    const top = config.blockChannels[0]!;
    this.conv_in = new Conv2d(config.latentChannels, widths[0]!, 3);
    this.up_blocks = widths.map((width, step) => new UpBlock(widths[step - 1] ?? width, width, step, config));
    this.mid_block = new MidBlock(widths[0]!, config);
    this.conv_norm_out = norm(top, config);
    this.conv_out = new Conv2d(top, config.outChannels, 3);
  }

  /** z `[N, h, w, latentChannels]` -> `[N, h f, w f, outChannels]`. */
  forward(z: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.conv_out.forward(this.features(z)));
  }

  /** What the last convolution sees: z `[N, h, w, latentChannels]` -> `[N, h f, w f, C0]`. */
  features(z: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      let h = this.mid_block.forward(this.conv_in.forward(z)); //                     [N, h, w, C_L]
      for (const block of this.up_blocks) h = block.forward(h);
      return silu(this.conv_norm_out.forward(h)); //                                  [N, h f, w f, C0]
    });
  }
}

/** Residual blocks of one level, one more than in the encoder, and a step up but for the last level. */
class UpBlock extends Module {
  readonly resnets: readonly ResnetBlock[];
  readonly upsamplers: readonly Upsample[];

  constructor(inChannels: number, width: number, step: number, config: CoderConfig) {
    super();
    this.resnets = Array.from(
      { length: config.layersPerBlock + 1 },
      (_, i) => new ResnetBlock(i === 0 ? inChannels : width, width, config),
    );
    this.upsamplers = step < config.blockChannels.length - 1 ? [new Upsample(width)] : [];
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => [...this.resnets, ...this.upsamplers].reduce((h, layer) => layer.forward(h), x));
  }
}
