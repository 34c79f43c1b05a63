import { imageProblems, labelProblems, Module, type RandomStream, throwIf, timeProblems } from '@mezzotint/core';
import {
  attention,
  Conv2d,
  Embedding,
  GroupNorm,
  joinHeads,
  Linear,
  silu,
  splitHeads,
  timestepEmbedding,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { UNetInputs } from '../adm/unet.js';
import { Downsample, divide, ResnetBlock, type ResnetOptions, repeat, Upsample } from './blocks.js';
import { type UNet2DConfig, validateUNet2DConfig } from './unet-2d-config.js';

/**
 * DDPM's UNet (Ho et al. 2020, appendix B) in the layout of its published checkpoints, diffusers' `UNet2DModel`: blocks
 * with additive time, attention with separate q, k and v, convolutions between the levels.
 */
export class UNet2D extends Module {
  readonly config: UNet2DConfig;
  readonly conv_in: Conv2d;
  readonly time_embedding: { readonly linear_1: Linear; readonly linear_2: Linear };
  readonly class_embedding?: Embedding;
  readonly down_blocks: readonly DownBlock[];
  readonly mid_block: MidBlock;
  readonly up_blocks: readonly UpBlock[];
  readonly conv_norm_out: GroupNorm;
  readonly conv_out: Conv2d;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: UNet2DConfig) {
    super();
    validateUNet2DConfig(new.target.name, config);
    this.config = config;
    const { blockChannels: levels, classes, groups, epsilon } = config;
    const top = levels[0]!;
    const bottom = levels.at(-1)!;
    this.conv_in = new Conv2d(config.inChannels, top, 3);
    this.time_embedding = { linear_1: new Linear(top, 4 * top), linear_2: new Linear(4 * top, 4 * top) };
    if (classes !== null) this.class_embedding = new Embedding(classes, 4 * top);
    const last = levels.length - 1;
    this.down_blocks = levels.map((width, level) => new DownBlock(levels[level - 1] ?? top, width, level, config));
    this.mid_block = new MidBlock(bottom, config);
    this.up_blocks = levels.map((_, step) => {
      const level = last - step;
      return new UpBlock(levels[level + 1] ?? bottom, levels[level]!, levels[level - 1] ?? top, level, config);
    });
    this.conv_norm_out = new GroupNorm(groups, top, { epsilon });
    this.conv_out = new Conv2d(top, config.outChannels, 3);
  }

  /**
   * What the network was trained to predict.
   * @param x noisy images `[N, H, W, inChannels]`, H and W multiples of 2^(levels - 1)
   * @param time one number an image, `[N]`, on the scale that the model was trained with (DDPM: 0..999)
   * @returns `[N, H, W, outChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit, or labels are missing or not expected
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, { labels, rng }: UNetInputs = {}): tf.Tensor4D {
    const { inChannels, blockChannels, classes, timeOrder, timeShift, centerInput } = this.config;
    throwIf(this.constructor.name, [
      ...imageProblems('x', x, inChannels, 2 ** (blockChannels.length - 1)),
      ...timeProblems(time, x),
      ...labelProblems(labels, x, classes),
    ]);
    return tf.tidy(() => {
      const wave = timestepEmbedding(time, blockChannels[0]!, { order: timeOrder, downscaleShift: timeShift }); // [N, C]
      const { linear_1, linear_2 } = this.time_embedding;
      const times = linear_2.forward(silu(linear_1.forward(wave))); //                [N, 4C]
      const label = labels === undefined ? undefined : this.class_embedding!.forward(labels);
      const emb = silu(label === undefined ? times : (tf.add(times, label) as tf.Tensor2D));
      let h = this.conv_in.forward(centerInput ? tf.sub(tf.mul(x, 2), 1) : x); //     [N, H, W, C]
      const skips = [h];
      for (const block of this.down_blocks) {
        skips.push(...block.forward(h, emb, rng));
        h = skips.at(-1)!;
      }
      h = this.mid_block.forward(h, emb, rng); //                                     [N, H/2^L, W/2^L, C_L]
      for (const block of this.up_blocks) h = block.forward(h, skips, emb, rng);
      return this.conv_out.forward(silu(this.conv_norm_out.forward(h))); //           [N, H, W, outChannels]
    });
  }
}

/** Residual blocks of one level, each with attention if any, and a step down but for the last level. */
class DownBlock extends Module {
  readonly resnets: readonly ResnetBlock[];
  readonly attentions: readonly AttentionLayer[];
  readonly downsamplers: readonly Downsample[];

  constructor(inChannels: number, width: number, level: number, config: UNet2DConfig) {
    super();
    const count = config.layersPerBlock;
    this.resnets = repeat(count, (i) => new ResnetBlock(i === 0 ? inChannels : width, width, resnetOf(config)));
    this.attentions = repeat(config.downAttention[level] ? count : 0, () => new AttentionLayer(width, config));
    const steps = level < config.blockChannels.length - 1 ? 1 : 0;
    this.downsamplers = repeat(steps, () => new Downsample(width, config.downsamplePadding));
  }

  /** Every output that a skip connection takes, the block's own last. */
  forward(x: tf.Tensor4D, emb: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D[] {
    return tf.tidy(() => {
      const outputs: tf.Tensor4D[] = [];
      let h = x;
      this.resnets.forEach((resnet, i) => {
        h = resnet.forward(h, emb, rng);
        h = this.attentions[i]?.forward(h) ?? h;
        outputs.push(h);
      });
      for (const down of this.downsamplers) outputs.push(down.forward(h));
      return outputs;
    });
  }
}

/** Residual block, attention, residual block. */
class MidBlock extends Module {
  readonly resnets: readonly [ResnetBlock, ResnetBlock];
  readonly attentions: readonly AttentionLayer[];

  constructor(width: number, config: UNet2DConfig) {
    super();
    const { midScale } = config;
    const make = () => new ResnetBlock(width, width, resnetOf(config), midScale);
    this.resnets = [make(), make()];
    this.attentions = repeat(config.midAttention ? 1 : 0, () => new AttentionLayer(width, config, midScale));
  }

  forward(x: tf.Tensor4D, emb: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      const h = this.resnets[0].forward(x, emb, rng);
      return this.resnets[1].forward(this.attentions[0]?.forward(h) ?? h, emb, rng);
    });
  }
}

/** Residual blocks of one level, each on its skip connection, with attention if any, and a step up but for the first. */
class UpBlock extends Module {
  readonly resnets: readonly ResnetBlock[];
  readonly attentions: readonly AttentionLayer[];
  readonly upsamplers: readonly Upsample[];

  /** `before`: width of what comes from below; `above`: width of the level above, whose step down the last skip is. */
  constructor(before: number, width: number, above: number, level: number, config: UNet2DConfig) {
    super();
    const count = config.layersPerBlock + 1;
    this.resnets = repeat(count, (i) => {
      const inChannels = (i === 0 ? before : width) + (i === count - 1 ? above : width);
      return new ResnetBlock(inChannels, width, resnetOf(config));
    });
    const attends = config.upAttention[config.blockChannels.length - 1 - level];
    this.attentions = repeat(attends ? count : 0, () => new AttentionLayer(width, config));
    this.upsamplers = repeat(level > 0 ? 1 : 0, () => new Upsample(width));
  }

  /** Takes its skip connections from the end of `skips`. */
  forward(x: tf.Tensor4D, skips: tf.Tensor4D[], emb: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      let h = x;
      this.resnets.forEach((resnet, i) => {
        h = resnet.forward(tf.concat([h, skips.pop()!], 3), emb, rng);
        h = this.attentions[i]?.forward(h) ?? h;
      });
      return this.upsamplers[0]?.forward(h) ?? h;
    });
  }
}

/** (x + out(attention(q, k, v of norm(x)))) / scale over the pixels. `[N,H,W,C] -> [N,H,W,C]`. */
class AttentionLayer extends Module {
  readonly group_norm: GroupNorm;
  readonly to_q: Linear;
  readonly to_k: Linear;
  readonly to_v: Linear;
  readonly to_out: readonly [Linear];
  readonly heads: number;
  readonly scale: number;

  constructor(channels: number, { groups, epsilon, headChannels }: UNet2DConfig, scale = 1) {
    super();
    this.heads = channels / (headChannels ?? channels);
    this.scale = scale;
    this.group_norm = new GroupNorm(groups, channels, { epsilon });
    this.to_q = new Linear(channels, channels);
    this.to_k = new Linear(channels, channels);
    this.to_v = new Linear(channels, channels);
    this.to_out = [new Linear(channels, channels)];
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const [n, height, width, c] = x.shape;
      const tokens = tf.reshape(this.group_norm.forward(x), [n, height * width, c]) as tf.Tensor3D; // [N, T, C]
      const [q, k, v] = [this.to_q, this.to_k, this.to_v].map((map) => splitHeads(map.forward(tokens), this.heads));
      const out = this.to_out[0].forward(joinHeads(attention(q!, k!, v!, { by: this }))); // [N, T, C]
      return divide(tf.add(x, tf.reshape(out, x.shape)), this.scale);
    });
  }
}

function resnetOf({ blockChannels, groups, epsilon, dropout }: UNet2DConfig): ResnetOptions {
  return { embedding: 4 * blockChannels[0]!, groups, epsilon, dropout };
}
