import {
  imageProblems,
  labelProblems,
  labelRows,
  Module,
  type RandomStream,
  throwIf,
  timeProblems,
} from '@mezzotint/core';
import {
  activate,
  attention,
  Conv2d,
  Embedding,
  GroupNorm,
  joinHeads,
  Linear,
  silu,
  splitHeads,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { ADMUNetInputs } from '../adm/unet.js';
import { Downsample, divide, ResnetBlock, type ResnetOptions, repeat, Upsample } from './blocks.js';
import { EmbeddingMlp, FourierFrequencies, sinusoidalEmbedding } from './embeddings.js';
import { classTable, type UNet2DConfig, validateUNet2DConfig } from './unet-2d-config.js';

/** What the network takes beside the noisy image and the time; what the model does not have is left out. */
export interface UNet2DInputs extends ADMUNetInputs {
  /** Vector of each image, `[N, E]`, when `classes` is `'vector'`. */
  readonly vector?: tf.Tensor2D;
}

/** Standard deviation of random frequencies, as in score networks. Song et al. 2021, appendix C. */
const FOURIER_SCALE = 16;

/**
 * DDPM's ADMUNet (Ho et al. 2020, appendix B) in the layout of its published checkpoints, diffusers' `UNet2DModel`: blocks
 * with additive time, attention with separate q, k and v, convolutions between the levels.
 */
export class UNet2D extends Module {
  readonly config: UNet2DConfig;
  readonly conv_in: Conv2d;
  readonly time_proj?: FourierFrequencies;
  readonly time_embedding: EmbeddingMlp;
  readonly class_embedding?: Embedding | EmbeddingMlp;
  readonly down_blocks: readonly DownBlock[];
  readonly mid_block?: MidBlock;
  readonly up_blocks: readonly UpBlock[];
  readonly conv_norm_out: GroupNorm;
  readonly conv_out: Conv2d;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: UNet2DConfig) {
    super();
    validateUNet2DConfig(new.target.name, config);
    this.config = config;
    const { blockChannels: levels, classes, nullLabel, groups, epsilon } = config;
    const top = levels[0]!;
    const bottom = levels.at(-1)!;
    this.conv_in = new Conv2d(config.inChannels, top, 3);
    const isFourier = config.timeEmbeddingType === 'fourier';
    const [sinusoidalWidth, width] = [isFourier ? 2 * top : top, timeWidthOf(config)];
    if (isFourier) this.time_proj = new FourierFrequencies(sinusoidalWidth, FOURIER_SCALE);
    this.time_embedding = new EmbeddingMlp(sinusoidalWidth, width);
    const rows = labelRows({ classes: classTable(config), nullLabel });
    if (classes === 'time') this.class_embedding = new EmbeddingMlp(sinusoidalWidth, width);
    else if (rows !== null) this.class_embedding = new Embedding(rows, width);
    const last = levels.length - 1;
    this.down_blocks = levels.map((width, level) => new DownBlock(levels[level - 1] ?? top, width, level, config));
    if (config.mid) this.mid_block = new MidBlock(bottom, config);
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
  forward(x: tf.Tensor4D, time: tf.Tensor1D, inputs: UNet2DInputs = {}): tf.Tensor4D {
    const { inChannels, blockChannels, timeEmbeddingType, centerInput, activation } = this.config;
    throwIf(this.constructor.name, [
      ...imageProblems('x', x, inChannels, 2 ** (blockChannels.length - 1)),
      ...timeProblems(time, x),
      ...classProblems(this.config, inputs, x),
    ]);
    const { rng } = inputs;
    return tf.tidy(() => {
      const emb = activate(this.embed(time, inputs), activation); //                  [N, E]
      let h = this.conv_in.forward(centerInput ? tf.sub(tf.mul(x, 2), 1) : x); //     [N, H, W, C]
      const skips = [h];
      for (const block of this.down_blocks) {
        skips.push(...block.forward(h, emb, rng));
        h = skips.at(-1)!;
      }
      h = this.mid_block?.forward(h, emb, rng) ?? h; //                               [N, H/2^L, W/2^L, C_L]
      for (const block of this.up_blocks) h = block.forward(h, skips, emb, rng);
      const out = this.conv_out.forward(silu(this.conv_norm_out.forward(h))); //      [N, H, W, outChannels]
      return timeEmbeddingType === 'fourier' ? tf.div(out, tf.reshape(time, [-1, 1, 1, 1])) : out;
    });
  }

  /** The time and the classes, `[N, E]`. */
  private embed(time: tf.Tensor1D, { labels, vector }: UNet2DInputs): tf.Tensor2D {
    const times = this.time_embedding.forward(this.sinusoidal(time));
    const map = this.class_embedding;
    const added =
      map instanceof Embedding
        ? map.forward(labels!)
        : map === undefined
          ? vector
          : map.forward(this.sinusoidal(labels!));
    return added === undefined ? times : tf.add(times, added);
  }

  /** `[N]` -> `[N, width of waves]`. */
  private sinusoidal(time: tf.Tensor1D): tf.Tensor2D {
    const { blockChannels, timeOrder, frequencyShift: shift } = this.config;
    if (this.time_proj !== undefined) return this.time_proj.forward(tf.log(tf.cast(time, 'float32')), 'sin-cos');
    return sinusoidalEmbedding(time, blockChannels[0]!, { order: timeOrder, shift });
  }
}

function timeWidthOf({ timeWidth, blockChannels }: UNet2DConfig): number {
  return timeWidth ?? 4 * blockChannels[0]!;
}

function classProblems(config: UNet2DConfig, { labels, vector }: UNet2DInputs, x: tf.Tensor): string[] {
  const { classes } = config;
  const n = x.shape[0]!;
  const isRow = (value: tf.Tensor | undefined, ...rest: number[]) => String(value?.shape) === String([n, ...rest]);
  const got = (value: tf.Tensor | undefined) => (value === undefined ? 'none' : `[${value.shape}]`);
  const rows = labelRows({ classes: classTable(config), nullLabel: config.nullLabel });
  const problems = classes === 'time' ? [] : labelProblems(labels, x, rows);
  if (classes === 'time' && !isRow(labels))
    problems.push(`labels: expected [${n}], one number an image, got ${got(labels)}`);
  if (classes !== 'vector' && vector !== undefined)
    problems.push('vector: this model has no place for it; leave it out');
  if (classes === 'vector' && !isRow(vector, timeWidthOf(config))) {
    problems.push(`vector: expected [${n}, ${timeWidthOf(config)}], got ${got(vector)}`);
  }
  return problems;
}

/** Residual blocks of one level, each with attention if any, and a step down but for the last level. */
class DownBlock extends Module {
  readonly resnets: readonly ResnetBlock[];
  readonly attentions: readonly AttentionLayer[];
  readonly downsamplers: readonly (Downsample | ResnetBlock)[];

  constructor(inChannels: number, width: number, level: number, config: UNet2DConfig) {
    super();
    const count = config.layersPerBlock;
    this.resnets = repeat(count, (i) => new ResnetBlock(i === 0 ? inChannels : width, width, resnetOf(config)));
    this.attentions = repeat(
      config.downAttention[level] ? count : 0,
      () => new AttentionLayer(width, config, config.groups),
    );
    const steps = level < config.blockChannels.length - 1 ? 1 : 0;
    this.downsamplers = repeat(steps, () =>
      config.downResample[level] === 'conv'
        ? new Downsample(width, config.downsamplePadding)
        : new ResnetBlock(width, width, resnetOf(config), { resample: 'down' }),
    );
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
      for (const down of this.downsamplers) {
        outputs.push(down instanceof ResnetBlock ? down.forward(h, emb, rng) : down.forward(h));
      }
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
    const { midScale, midGroups } = config;
    const make = () => new ResnetBlock(width, width, resnetOf(config), { scale: midScale });
    this.resnets = [make(), make()];
    this.attentions = repeat(config.midAttention ? 1 : 0, () => new AttentionLayer(width, config, midGroups, midScale));
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
  readonly upsamplers: readonly (Upsample | ResnetBlock)[];

  /** `before`: width of what comes from below; `above`: width of the level above, whose step down the last skip is. */
  constructor(before: number, width: number, above: number, level: number, config: UNet2DConfig) {
    super();
    const count = config.layersPerBlock + 1;
    this.resnets = repeat(count, (i) => {
      const inChannels = (i === 0 ? before : width) + (i === count - 1 ? above : width);
      return new ResnetBlock(inChannels, width, resnetOf(config));
    });
    const step = config.blockChannels.length - 1 - level;
    const attends = config.upAttention[step];
    this.attentions = repeat(attends ? count : 0, () => new AttentionLayer(width, config, config.groups));
    this.upsamplers = repeat(level > 0 ? 1 : 0, () =>
      config.upResample[step] === 'conv'
        ? new Upsample(width)
        : new ResnetBlock(width, width, resnetOf(config), { resample: 'up' }),
    );
  }

  /** Takes its skip connections from the end of `skips`. */
  forward(x: tf.Tensor4D, skips: tf.Tensor4D[], emb: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      let h = x;
      this.resnets.forEach((resnet, i) => {
        h = resnet.forward(tf.concat([h, skips.pop()!], 3), emb, rng);
        h = this.attentions[i]?.forward(h) ?? h;
      });
      const [up] = this.upsamplers;
      return (up instanceof ResnetBlock ? up.forward(h, emb, rng) : up?.forward(h)) ?? h;
    });
  }
}

/** (x + out(attention(q, k, v of norm(x)))) / scale over the pixels. `[N,H,W,C] -> [N,H,W,C]`. */
class AttentionLayer extends Module {
  readonly group_norm?: GroupNorm;
  readonly to_q: Linear;
  readonly to_k: Linear;
  readonly to_v: Linear;
  readonly to_out: readonly [Linear];
  readonly heads: number;
  readonly scale: number;

  constructor(channels: number, { epsilon, headChannels }: UNet2DConfig, groups: number | null, scale = 1) {
    super();
    this.heads = channels / (headChannels ?? channels);
    this.scale = scale;
    if (groups !== null) this.group_norm = new GroupNorm(groups, channels, { epsilon });
    this.to_q = new Linear(channels, channels);
    this.to_k = new Linear(channels, channels);
    this.to_v = new Linear(channels, channels);
    this.to_out = [new Linear(channels, channels)];
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const [n, height, width, c] = x.shape;
      const tokens = tf.reshape(this.group_norm?.forward(x) ?? x, [n, height * width, c]) as tf.Tensor3D; // [N, T, C]
      const [q, k, v] = [this.to_q, this.to_k, this.to_v].map((map) => splitHeads(map.forward(tokens), this.heads));
      const out = this.to_out[0].forward(joinHeads(attention(q!, k!, v!, { by: this }))); // [N, T, C]
      return divide(tf.add(x, tf.reshape(out, x.shape)), this.scale);
    });
  }
}

function resnetOf(config: UNet2DConfig): ResnetOptions {
  const { groups, epsilon, dropout, activation, timeConditioning } = config;
  return { embedding: timeWidthOf(config), groups, epsilon, dropout, activation, timeConditioning };
}
