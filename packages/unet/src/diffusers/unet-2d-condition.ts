import { imageProblems, labelProblems, Module, type RandomStream, throwIf, timeProblems } from '@mezzotint/core';
import { Conv2d, Embedding, GroupNorm, Linear, silu, timestepEmbedding } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { Downsample, ResnetBlock, type ResnetOptions, repeat, Upsample } from './blocks.js';
import { Transformer2D } from './transformer-2d.js';
import { type UNet2DConditionConfig, validateUNet2DConditionConfig } from './unet-2d-condition-config.js';

/** What the conditional UNet takes beside the noisy latent image and the time. What the model does not have is left out. */
export interface UNet2DConditionInputs {
  /** States of the text encoder, `[N, S, contextWidth]`. */
  readonly context: tf.Tensor3D;
  /** SDXL: pooled text, `[N, width - numbers * numberWidth]`. */
  readonly pooled?: tf.Tensor2D;
  /** SDXL: numbers about the picture (height, width, top, left, and target height and width, or the score), `[N, numbers]`. */
  readonly timeIds?: tf.Tensor2D;
  /** Class of each image, int32 `[N]`, when `classes` is a table. */
  readonly labels?: tf.Tensor1D;
  /** Vector of each image, `[N, V]`, when `classes` maps vectors. */
  readonly vector?: tf.Tensor2D;
  /** What is added to the wave of the time (LCM: the wave of the guidance scale), `[N, timeConditionWidth]`; zeros if absent. */
  readonly timeCondition?: tf.Tensor2D;
  /** Source of dropout; absent, there is none. */
  readonly rng?: RandomStream;
}

/**
 * The UNet of Stable Diffusion 1.x, 2.x, XL and XL's refiner (Rombach et al. 2022; Podell et al. 2023): DDPM's blocks with
 * transformers that attend to a text. State-dict keys are those of diffusers' `UNet2DConditionModel`.
 */
export class UNet2DCondition extends Module {
  readonly config: UNet2DConditionConfig;
  readonly conv_in: Conv2d;
  readonly time_embedding: EmbeddingMlp;
  readonly class_embedding?: Embedding | EmbeddingMlp;
  readonly add_embedding?: EmbeddingMlp;
  readonly down_blocks: readonly DownBlock[];
  readonly up_blocks: readonly UpBlock[];
  readonly mid_block?: MidBlock;
  readonly conv_norm_out: GroupNorm;
  readonly conv_out: Conv2d;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: UNet2DConditionConfig) {
    super();
    validateUNet2DConditionConfig(new.target.name, config);
    this.config = config;
    const { blockChannels: levels, classes, groups, epsilon, textAndNumbers } = config;
    const top = levels[0]!;
    const bottom = levels.at(-1)!;
    const width = 4 * top;
    this.conv_in = new Conv2d(config.inChannels, top, 3);
    this.time_embedding = new EmbeddingMlp(top, width, config.timeConditionWidth);
    if (classes !== null) {
      this.class_embedding =
        'table' in classes ? new Embedding(classes.table, width) : new EmbeddingMlp(classes.vector, width);
    }
    if (textAndNumbers !== null) this.add_embedding = new EmbeddingMlp(textAndNumbers.width, width);
    this.down_blocks = levels.map((_, level) => new DownBlock(levels[level - 1] ?? top, level, config));
    this.up_blocks = repeat(levels.length, (step) => {
      const level = levels.length - 1 - step;
      return new UpBlock(levels[level + 1] ?? bottom, levels[level - 1] ?? top, level, config);
    });
    if (config.mid) this.mid_block = new MidBlock(config);
    this.conv_norm_out = new GroupNorm(groups, top, { epsilon });
    this.conv_out = new Conv2d(top, config.outChannels, 3);
  }

  /**
   * What the network was trained to predict: the noise (SD 1.x, SDXL) or v (SD 2.1).
   *
   * @param x noisy latent images `[N, H, W, inChannels]`; any H and W, though the model knows those it was trained with
   * @param time one number an image, `[N]`, 0..999
   * @returns `[N, H, W, outChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit, or an input is missing or not expected
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, inputs: UNet2DConditionInputs): tf.Tensor4D {
    throwIf(this.constructor.name, [
      ...imageProblems('x', x, this.config.inChannels, 1),
      ...timeProblems(time, x),
      ...conditionProblems(this.config, inputs, x),
    ]);
    const { context, rng } = inputs;
    return tf.tidy(() => {
      const emb = silu(this.embed(time, inputs)); //                                  [N, 4C]
      let h = this.conv_in.forward(x); //                                             [N, H, W, C]
      const skips = [h];
      for (const block of this.down_blocks) {
        skips.push(...block.forward(h, emb, context, rng));
        h = skips.at(-1)!;
      }
      h = this.mid_block?.forward(h, emb, context, rng) ?? h; //                      [N, H/2^L, W/2^L, C_L]
      for (const block of this.up_blocks) h = block.forward(h, skips, emb, context, rng);
      return this.conv_out.forward(silu(this.conv_norm_out.forward(h))); //           [N, H, W, outChannels]
    });
  }

  /** The time and all that modulates like it, `[N, 4C]`. SDXL: Podell et al. 2023, section 2.2. */
  private embed(time: tf.Tensor1D, inputs: UNet2DConditionInputs): tf.Tensor2D {
    const { blockChannels, timeOrder: order, timeShift: downscaleShift, textAndNumbers } = this.config;
    const { pooled, timeIds, labels, vector, timeCondition } = inputs;
    const wave = timestepEmbedding(time, blockChannels[0]!, { order, downscaleShift }); // [N, C]
    let emb = this.time_embedding.forward(wave, timeCondition);
    if (this.class_embedding !== undefined) {
      const { class_embedding } = this;
      const added =
        class_embedding instanceof EmbeddingMlp ? class_embedding.forward(vector!) : class_embedding.forward(labels!);
      emb = tf.add(emb, added);
    }
    if (this.add_embedding !== undefined) {
      const { numberWidth } = textAndNumbers!;
      const waves = timestepEmbedding(tf.reshape(timeIds!, [-1]), numberWidth, { order, downscaleShift });
      const numbers = tf.reshape(waves, [time.shape[0], -1]) as tf.Tensor2D; //       [N, numbers * numberWidth]
      emb = tf.add(emb, this.add_embedding.forward(tf.concat([pooled!, numbers], 1)));
    }
    return emb;
  }
}

function conditionProblems(config: UNet2DConditionConfig, inputs: UNet2DConditionInputs, x: tf.Tensor): string[] {
  const n = x.shape[0]!;
  const { contextWidth, classes, textAndNumbers, timeConditionWidth } = config;
  const { context, pooled, timeIds, labels, vector, timeCondition } = inputs;
  const problems: string[] = [];
  if (context?.rank !== 3 || context.shape[0] !== n || context.shape[2] !== contextWidth) {
    problems.push(`context: expected [${n}, S, ${contextWidth}], got ${shapeOf(context)}`);
  }
  problems.push(...labelProblems(labels, x, classes !== null && 'table' in classes ? classes.table : null));
  const width = classes !== null && 'vector' in classes ? classes.vector : null;
  problems.push(...vectorProblems('vector', vector, n, width));
  if (timeCondition !== undefined)
    problems.push(...vectorProblems('timeCondition', timeCondition, n, timeConditionWidth));
  if (textAndNumbers === null) {
    problems.push(...vectorProblems('pooled', pooled, n, null), ...vectorProblems('timeIds', timeIds, n, null));
  } else {
    const { width, numberWidth } = textAndNumbers;
    const fits = pooled?.rank === 2 && timeIds?.rank === 2 && pooled.shape[0] === n && timeIds.shape[0] === n;
    if (!fits || pooled.shape[1] + numberWidth * timeIds.shape[1] !== width) {
      problems.push(
        `pooled and timeIds: expected [${n}, P] and [${n}, K] with P + ${numberWidth} K = ${width}, got ${shapeOf(pooled)} and ${shapeOf(timeIds)}`,
      );
    }
  }
  return problems;
}

/** What is wrong with vectors `[n, width]`; width null: the model has no place for them. */
function vectorProblems(name: string, value: tf.Tensor | undefined, n: number, width: number | null): string[] {
  if (width === null) return value === undefined ? [] : [`${name}: this model has no place for it; leave it out`];
  const fits = value?.rank === 2 && value.shape[0] === n && value.shape[1] === width;
  return fits ? [] : [`${name}: expected [${n}, ${width}], got ${shapeOf(value)}`];
}

function shapeOf(value: tf.Tensor | undefined): string {
  return value === undefined ? 'none' : `[${value.shape}]`;
}

/** linear(silu(linear(x + cond_proj(condition)))). `[N, in] -> [N, width]`. The condition: Meng et al. 2023, appendix B. */
class EmbeddingMlp extends Module {
  readonly linear_1: Linear;
  readonly cond_proj?: Linear;
  readonly linear_2: Linear;

  constructor(inputs: number, width: number, condition: number | null = null) {
    super();
    this.linear_1 = new Linear(inputs, width);
    if (condition !== null) this.cond_proj = new Linear(condition, inputs, { bias: false });
    this.linear_2 = new Linear(width, width);
  }

  forward(x: tf.Tensor2D, condition?: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => {
      const h = condition === undefined ? x : (tf.add(x, this.cond_proj!.forward(condition)) as tf.Tensor2D);
      return this.linear_2.forward(silu(this.linear_1.forward(h)));
    });
  }
}

/** Residual blocks of one level, each with a transformer if any, and a step down but for the last level. */
class DownBlock extends Module {
  readonly attentions: readonly Transformer2D[];
  readonly resnets: readonly ResnetBlock[];
  readonly downsamplers: readonly Downsample[];

  constructor(before: number, level: number, config: UNet2DConditionConfig) {
    super();
    const { blockChannels, resBlocks, downAttention } = config;
    const width = blockChannels[level]!;
    const count = resBlocks[level]!;
    this.attentions = repeat(downAttention[level] ? count : 0, () => transformer(level, config));
    this.resnets = repeat(count, (i) => new ResnetBlock(i === 0 ? before : width, width, resnetOf(config)));
    this.downsamplers = repeat(level < blockChannels.length - 1 ? 1 : 0, () => new Downsample(width, 1));
  }

  /** Every output that a skip connection takes, the block's own last. */
  forward(x: tf.Tensor4D, emb: tf.Tensor2D, context: tf.Tensor3D, rng?: RandomStream): tf.Tensor4D[] {
    return tf.tidy(() => {
      const outputs: tf.Tensor4D[] = [];
      let h = x;
      this.resnets.forEach((resnet, i) => {
        h = resnet.forward(h, emb, rng);
        h = this.attentions[i]?.forward(h, context) ?? h;
        outputs.push(h);
      });
      for (const down of this.downsamplers) outputs.push(down.forward(h));
      return outputs;
    });
  }
}

/** Residual block, transformer, residual block. */
class MidBlock extends Module {
  readonly attentions: readonly [Transformer2D];
  readonly resnets: readonly [ResnetBlock, ResnetBlock];

  constructor(config: UNet2DConditionConfig) {
    super();
    const last = config.blockChannels.length - 1;
    const width = config.blockChannels[last]!;
    const make = () => new ResnetBlock(width, width, resnetOf(config));
    this.attentions = [transformer(last, { ...config, onlyCrossAttention: [] })];
    this.resnets = [make(), make()];
  }

  forward(x: tf.Tensor4D, emb: tf.Tensor2D, context: tf.Tensor3D, rng?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      const h = this.resnets[0].forward(x, emb, rng);
      return this.resnets[1].forward(this.attentions[0].forward(h, context), emb, rng);
    });
  }
}

/** Residual blocks of one level, each on its skip connection, with a transformer if any, and a step up but for the first. */
class UpBlock extends Module {
  readonly attentions: readonly Transformer2D[];
  readonly resnets: readonly ResnetBlock[];
  readonly upsamplers: readonly Upsample[];

  /** `before`: width of what comes from below; `above`: width of the level above, whose step down the last skip is. */
  constructor(before: number, above: number, level: number, config: UNet2DConditionConfig) {
    super();
    const width = config.blockChannels[level]!;
    const count = config.resBlocks[level]! + 1;
    this.attentions = repeat(config.upAttention[level] ? count : 0, () => transformer(level, config));
    this.resnets = repeat(count, (i) => {
      const inChannels = (i === 0 ? before : width) + (i === count - 1 ? above : width);
      return new ResnetBlock(inChannels, width, resnetOf(config));
    });
    this.upsamplers = repeat(level > 0 ? 1 : 0, () => new Upsample(width));
  }

  /** Takes its skip connections from the end of `skips`; the step up is to the size of the next one. */
  forward(
    x: tf.Tensor4D,
    skips: tf.Tensor4D[],
    emb: tf.Tensor2D,
    context: tf.Tensor3D,
    rng?: RandomStream,
  ): tf.Tensor4D {
    return tf.tidy(() => {
      let h = x;
      this.resnets.forEach((resnet, i) => {
        h = resnet.forward(tf.concat([h, skips.pop()!], 3), emb, rng);
        h = this.attentions[i]?.forward(h, context) ?? h;
      });
      const [, height, width] = skips.at(-1)?.shape ?? h.shape;
      return this.upsamplers[0]?.forward(h, height, width) ?? h;
    });
  }
}

function resnetOf({ blockChannels, groups, epsilon, dropout }: UNet2DConditionConfig): ResnetOptions {
  return { embedding: 4 * blockChannels[0]!, groups, epsilon, dropout };
}

function transformer(level: number, config: UNet2DConditionConfig): Transformer2D {
  return new Transformer2D(config.blockChannels[level]!, {
    heads: config.heads[level]!,
    depth: config.depth[level]!,
    context: config.contextWidth,
    linearProjection: config.linearProjection,
    onlyCrossAttention: config.onlyCrossAttention[level] ?? false,
    groups: config.groups,
  });
}
