import {
  imageProblems,
  labelProblems,
  Module,
  type RandomStream,
  recallAll,
  recalled,
  throwIf,
  timeProblems,
} from '@mezzotint/core';
import { activate, Conv2d, Embedding, GroupNorm, Linear, timestepEmbedding } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { Downsample, ResnetBlock, type ResnetOptions, repeat, Upsample } from './blocks.js';
import { AddedKvAttention, TextTimeEmbedding } from './deepfloyd.js';
import { EmbeddingMlp, FourierFrequencies, sinusoidalEmbedding } from './embeddings.js';
import { Transformer2D } from './transformer-2d.js';
import { type Depth, type UNet2DConditionConfig, validateUNet2DConditionConfig } from './unet-2d-condition-config.js';

/** What the conditional UNet takes beside the noisy latent image and the time. What the model does not have is left out. */
export interface UNet2DConditionInputs {
  /** States of the text encoder, `[N, S, contextWidth]`, or `[N, S, textWidth]` where the model maps them. */
  readonly context: tf.Tensor3D;
  /** SDXL: pooled text, `[N, width - numbers * numberWidth]`. */
  readonly pooled?: tf.Tensor2D;
  /** SDXL: numbers about the picture (height, width, top, left, and target height and width, or the score), `[N, numbers]`. */
  readonly timeIds?: tf.Tensor2D;
  /** Class of each image, int32 `[N]`, when `classes` is a table; number of each image, `[N]`, when it is `'time'`. */
  readonly labels?: tf.Tensor1D;
  /** Vector of each image, `[N, V]`, when `classes` takes vectors. */
  readonly vector?: tf.Tensor2D;
  /** What is added to the embedding of the time (LCM: the embedding of the guidance scale), `[N, timeCondProjDim]`; zeros if absent. */
  readonly timeCondition?: tf.Tensor2D;
  /** Source of dropout; absent, there is none. */
  readonly rng?: RandomStream;
}

/**
 * The UNet of Stable Diffusion 1.x, 2.x, XL and XL's refiner (Rombach et al. 2022; Podell et al. 2023): DDPM's blocks with
 * transformers that attend to a text; and of DeepFloyd IF: ADM's blocks with attention to text and pixels at once. State-dict keys are those of diffusers' `UNet2DConditionModel`.
 */
export class UNet2DCondition extends Module {
  readonly config: UNet2DConditionConfig;
  readonly conv_in: Conv2d;
  readonly time_proj?: FourierFrequencies;
  readonly time_embedding: EmbeddingMlp;
  readonly encoder_hid_proj?: Linear;
  readonly class_embedding?: Embedding | EmbeddingMlp | Linear;
  readonly add_embedding?: EmbeddingMlp | TextTimeEmbedding;
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
    const { blockChannels: levels, groups, epsilon, textTime, textPooling, activation } = config;
    const top = levels[0]!;
    const bottom = levels.at(-1)!;
    const width = timeWidthOf(config);
    const isFourier = config.timeEmbeddingType === 'fourier';
    const sinusoidalWidth = isFourier ? width : top;
    this.conv_in = new Conv2d(config.inChannels, top, config.kernelIn);
    if (isFourier) this.time_proj = new FourierFrequencies(width, 1);
    this.time_embedding = new EmbeddingMlp(sinusoidalWidth, width, {
      condition: config.timeCondProjDim,
      activation,
      post: config.timePost,
    });
    if (config.textWidth !== null) this.encoder_hid_proj = new Linear(config.textWidth, config.contextWidth);
    const classes = classEmbedding(config, sinusoidalWidth, width);
    if (classes !== undefined) this.class_embedding = classes;
    if (textTime !== null) this.add_embedding = new EmbeddingMlp(textTime.width, width);
    if (textPooling !== null) {
      this.add_embedding = new TextTimeEmbedding(config.textWidth ?? config.contextWidth, width, textPooling.heads);
    }
    this.down_blocks = levels.map((_, level) => new DownBlock(levels[level - 1] ?? top, level, config));
    this.up_blocks = repeat(levels.length, (step) => {
      const level = levels.length - 1 - step;
      return new UpBlock(levels[level + 1] ?? bottom, levels[level - 1] ?? top, level, config);
    });
    if (config.mid !== null) this.mid_block = new MidBlock(config);
    this.conv_norm_out = new GroupNorm(groups, top, { epsilon });
    this.conv_out = new Conv2d(top, config.outChannels, config.kernelOut);
  }

  /**
   * What the network was trained to predict: the noise (SD 1.x, SDXL) or v (SD 2.1).
   *
   * @param x noisy latent images `[N, H, W, inChannels]`; any H and W (with `downsamplePadding` 0
   *   multiples of 2^(levels - 1)), though the model knows those it was trained with
   * @param time one number an image, `[N]`, 0..999
   * @returns `[N, H, W, outChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit, or an input is missing or not expected
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, inputs: UNet2DConditionInputs): tf.Tensor4D {
    throwIf(this.constructor.name, [
      ...imageProblems('x', x, this.config.inChannels, sizeMultipleOf(this.config)),
      ...timeProblems(time, x),
      ...conditionProblems(this.config, inputs, x),
    ]);
    const { rng } = inputs;
    const { activation, centerInput } = this.config;
    return tf.tidy(() => {
      const context = this.textStates(inputs.context); //                             [N, S, contextWidth]
      recallAll(this, context);
      const embedding = this.embed(time, inputs); //                                  [N, E]
      const emb = { plain: embedding, activated: activate(embedding, activation) };
      let h = this.conv_in.forward(centerInput ? tf.sub(tf.mul(x, 2), 1) : x); //     [N, H, W, C]
      const skips = [h];
      for (const block of this.down_blocks) {
        skips.push(...block.forward(h, emb, context, rng));
        h = skips.at(-1)!;
      }
      h = this.mid_block?.forward(h, emb, context, rng) ?? h; //                      [N, H/2^L, W/2^L, C_L]
      for (const block of this.up_blocks) h = block.forward(h, skips, emb, context, rng);
      return this.conv_out.forward(activate(this.conv_norm_out.forward(h), activation)); // [N, H, W, outChannels]
    });
  }

  /** The states that the attentions see. */
  private textStates(context: tf.Tensor3D): tf.Tensor3D {
    const { encoder_hid_proj: map } = this;
    return map === undefined ? context : recalled(map, context, () => [map.forward(context)] as const)[0];
  }

  /** The time and all that modulates like it, `[N, E]`. SDXL: Podell et al. 2023, section 2.2. */
  private embed(time: tf.Tensor1D, inputs: UNet2DConditionInputs): tf.Tensor2D {
    const { textTime, embeddingActivation, classEmbeddingsConcat, timeOrder, frequencyShift } = this.config;
    const { pooled, timeIds, timeCondition } = inputs;
    let emb = this.time_embedding.forward(this.sinusoidal(time), timeCondition);
    const classes = this.classes(inputs);
    if (classes !== undefined) emb = classEmbeddingsConcat ? tf.concat([emb, classes], 1) : tf.add(emb, classes);
    const added = this.add_embedding;
    if (added instanceof TextTimeEmbedding) {
      emb = tf.add(emb, recalled(added, inputs.context, () => [added.forward(inputs.context)] as const)[0]);
    } else if (added !== undefined) {
      const sinusoids = timestepEmbedding(tf.reshape(timeIds!, [-1]), textTime!.numberWidth, {
        order: timeOrder,
        downscaleShift: frequencyShift,
      });
      const numbers = tf.reshape(sinusoids, [time.shape[0], -1]) as tf.Tensor2D; //       [N, numbers * numberWidth]
      emb = tf.add(emb, added.forward(tf.concat([pooled!, numbers], 1)));
    }
    return embeddingActivation === null ? emb : activate(emb, embeddingActivation);
  }

  /** `[N]` -> `[N, width of the sinusoidal embedding]`. */
  private sinusoidal(time: tf.Tensor1D): tf.Tensor2D {
    const { blockChannels, timeOrder: order, frequencyShift: shift } = this.config;
    return sinusoidalEmbedding(time, blockChannels[0]!, { order, shift, frequencies: this.time_proj });
  }

  /** What the classes add, `[N, E]`. */
  private classes({ labels, vector }: UNet2DConditionInputs): tf.Tensor2D | undefined {
    const { classes } = this.config;
    const map = this.class_embedding;
    if (classes === 'vector') return vector;
    if (map instanceof Embedding) return map.forward(labels!) as tf.Tensor2D;
    return map?.forward(classes === 'time' ? this.sinusoidal(labels!) : vector!) as tf.Tensor2D | undefined;
  }
}

/**
 * What the sides must be multiples of. Padding on one side alone, and means of 2x2 pixels, halve odd sides to less than the
 * way up can double again.
 */
export function sizeMultipleOf({ downsamplePadding, downResample, upResample, blockChannels }: UNet2DConditionConfig) {
  const residual = [...downResample.slice(0, -1), ...upResample.slice(1)].includes('residual');
  return downsamplePadding === 0 || residual ? 2 ** (blockChannels.length - 1) : 1;
}

/** Width of the time's embedding: Ho et al. 2020 take four times that of full resolution. */
function timeWidthOf({ timeWidth, timeEmbeddingType, blockChannels }: UNet2DConditionConfig): number {
  return timeWidth ?? (timeEmbeddingType === 'fourier' ? 2 : 4) * blockChannels[0]!;
}

function classEmbedding(
  { classes, activation }: UNet2DConditionConfig,
  sinusoidalWidth: number,
  width: number,
): Embedding | EmbeddingMlp | Linear | undefined {
  if (classes === null || classes === 'vector') return undefined;
  if (classes === 'time') return new EmbeddingMlp(sinusoidalWidth, width, { activation });
  if ('table' in classes) return new Embedding(classes.table, width);
  return 'vector' in classes ? new EmbeddingMlp(classes.vector, width) : new Linear(classes.linear, width);
}

function conditionProblems(config: UNet2DConditionConfig, inputs: UNet2DConditionInputs, x: tf.Tensor): string[] {
  const n = x.shape[0]!;
  const { textTime, timeCondProjDim } = config;
  const { context, pooled, timeIds, timeCondition } = inputs;
  const contextWidth = config.textWidth ?? config.contextWidth;
  const problems: string[] = [];
  if (context?.rank !== 3 || context.shape[0] !== n || context.shape[2] !== contextWidth) {
    problems.push(`context: expected [${n}, S, ${contextWidth}], got ${shapeOf(context)}`);
  }
  problems.push(...classProblems(config, inputs, x));
  if (timeCondition !== undefined) problems.push(...vectorProblems('timeCondition', timeCondition, n, timeCondProjDim));
  if (textTime === null) {
    problems.push(...vectorProblems('pooled', pooled, n, null), ...vectorProblems('timeIds', timeIds, n, null));
  } else {
    const { width, numberWidth } = textTime;
    const fits = pooled?.rank === 2 && timeIds?.rank === 2 && pooled.shape[0] === n && timeIds.shape[0] === n;
    if (!fits || pooled.shape[1] + numberWidth * timeIds.shape[1] !== width) {
      problems.push(
        `pooled and timeIds: expected [${n}, P] and [${n}, K] with P + ${numberWidth} K = ${width}, got ${shapeOf(pooled)} and ${shapeOf(timeIds)}`,
      );
    }
  }
  return problems;
}

function classProblems(
  config: UNet2DConditionConfig,
  { labels, vector }: UNet2DConditionInputs,
  x: tf.Tensor,
): string[] {
  const n = x.shape[0]!;
  const { classes } = config;
  const own = typeof classes === 'object' ? classes : null;
  const table = own !== null && 'table' in own ? own.table : null;
  const mapped = own !== null && 'vector' in own ? own.vector : own !== null && 'linear' in own ? own.linear : null;
  const problems = vectorProblems('vector', vector, n, classes === 'vector' ? timeWidthOf(config) : mapped);
  if (classes !== 'time') return [...labelProblems(labels, x, table), ...problems];
  const fits = labels?.rank === 1 && labels.shape[0] === n;
  return fits ? problems : [`labels: expected [${n}], one number an image, got ${shapeOf(labels)}`, ...problems];
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

/** The embedding `[N, E]` as it is, and activated; blocks take the one or the other. */
interface TimeEmbedding {
  readonly plain: tf.Tensor2D;
  readonly activated: tf.Tensor2D;
}

/** Residual blocks of one level, each with a transformer or IF's attention if any, and a step down but for the last level. */
class DownBlock extends Module {
  readonly attentions: readonly (Transformer2D | AddedKvAttention)[];
  readonly resnets: readonly ResnetBlock[];
  readonly downsamplers: readonly (Downsample | ResnetBlock)[];
  readonly embedding: keyof TimeEmbedding;

  constructor(before: number, level: number, config: UNet2DConditionConfig) {
    super();
    const { blockChannels, resBlocks, downAttention, depth, downsamplePadding } = config;
    const width = blockChannels[level]!;
    const count = resBlocks[level]!;
    const blocks = blocksOf('down', config.downResample[level]!, config);
    this.embedding = blocks.embedding;
    this.attentions = repeat(downAttention[level] ? count : 0, (i) =>
      blocks.attention(level, depthAt(depth[level]!, i)),
    );
    this.resnets = repeat(count, (i) => blocks.resnet(i === 0 ? before : width, width));
    this.downsamplers = repeat(level < blockChannels.length - 1 ? 1 : 0, () =>
      config.downResample[level] === 'residual'
        ? blocks.resnet(width, width, 'down')
        : new Downsample(width, downsamplePadding),
    );
  }

  /** Every output that a skip connection takes, the block's own last. */
  forward(x: tf.Tensor4D, emb: TimeEmbedding, context: tf.Tensor3D, rng?: RandomStream): tf.Tensor4D[] {
    return tf.tidy(() => {
      const own = emb[this.embedding];
      const outputs: tf.Tensor4D[] = [];
      let h = x;
      this.resnets.forEach((resnet, i) => {
        h = resnet.forward(h, own, rng);
        h = this.attentions[i]?.forward(h, context) ?? h;
        outputs.push(h);
      });
      for (const down of this.downsamplers) {
        outputs.push(down instanceof Downsample ? down.forward(h) : down.forward(h, own, rng));
      }
      return outputs;
    });
  }
}

/** Residual block, attention, residual block; or the first alone. */
class MidBlock extends Module {
  readonly attentions: readonly (Transformer2D | AddedKvAttention)[];
  readonly resnets: readonly ResnetBlock[];
  readonly embedding: keyof TimeEmbedding;

  constructor(config: UNet2DConditionConfig) {
    super();
    const { blockChannels, depth, mid, midScale: scale } = config;
    const last = blockChannels.length - 1;
    const width = blockChannels[last]!;
    const attends = mid !== 'residual';
    const onlyCross = mid === 'added-kv' && config.deepfloyd!.midOnlyCrossAttention;
    const blocks = blocksOf('down', mid === 'added-kv' ? 'residual' : 'conv', {
      ...config,
      onlyCrossAttention: blockChannels.map(() => onlyCross),
    });
    this.embedding = blocks.embedding;
    this.attentions = repeat(attends ? 1 : 0, () => blocks.attention(last, depthAt(depth[last]!, 0)));
    this.resnets = repeat(attends ? 2 : 1, () => new ResnetBlock(width, width, resnetOf(config), { scale }));
  }

  forward(x: tf.Tensor4D, emb: TimeEmbedding, context: tf.Tensor3D, rng?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      const own = emb[this.embedding];
      const h = this.resnets[0]!.forward(x, own, rng);
      const seen = this.attentions[0]?.forward(h, context) ?? h;
      return this.resnets[1]?.forward(seen, own, rng) ?? seen;
    });
  }
}

/** Residual blocks of one level, each on its skip connection, with attention if any, and a step up but for the first. */
class UpBlock extends Module {
  readonly attentions: readonly (Transformer2D | AddedKvAttention)[];
  readonly resnets: readonly ResnetBlock[];
  readonly upsamplers: readonly (Upsample | ResnetBlock)[];
  readonly embedding: keyof TimeEmbedding;

  /** `before`: width of what comes from below; `above`: width of the level above, whose step down the last skip is. */
  constructor(before: number, above: number, level: number, config: UNet2DConditionConfig) {
    super();
    const width = config.blockChannels[level]!;
    const count = config.resBlocks[level]! + 1;
    const depth = (config.upDepth ?? config.depth)[level]!;
    const blocks = blocksOf('up', config.upResample[level]!, config);
    this.embedding = blocks.embedding;
    this.attentions = repeat(config.upAttention[level] ? count : 0, (i) => blocks.attention(level, depthAt(depth, i)));
    this.resnets = repeat(count, (i) => {
      const inChannels = (i === 0 ? before : width) + (i === count - 1 ? above : width);
      return blocks.resnet(inChannels, width);
    });
    this.upsamplers = repeat(level > 0 ? 1 : 0, () =>
      config.upResample[level] === 'residual' ? blocks.resnet(width, width, 'up') : new Upsample(width),
    );
  }

  /** Takes its skip connections from the end of `skips`; the step up is to the size of the next one. */
  forward(
    x: tf.Tensor4D,
    skips: tf.Tensor4D[],
    emb: TimeEmbedding,
    context: tf.Tensor3D,
    rng?: RandomStream,
  ): tf.Tensor4D {
    return tf.tidy(() => {
      const own = emb[this.embedding];
      let h = x;
      this.resnets.forEach((resnet, i) => {
        h = resnet.forward(tf.concat([h, skips.pop()!], 3), own, rng);
        h = this.attentions[i]?.forward(h, context) ?? h;
      });
      const [, height, width] = skips.at(-1)?.shape ?? h.shape;
      const up = this.upsamplers[0];
      if (up === undefined) return h;
      return up instanceof Upsample ? up.forward(h, height, width) : up.forward(h, own, rng);
    });
  }
}

/** How the blocks of a level are made: Stable Diffusion's where steps are convolutions, DeepFloyd IF's where they are residual blocks. */
function blocksOf(way: 'down' | 'up', resample: 'conv' | 'residual', config: UNet2DConditionConfig) {
  const { contextWidth, groups, onlyCrossAttention, blockChannels } = config;
  if (resample === 'conv') {
    return {
      embedding: 'activated' as const,
      attention: (level: number, depth: number) => transformer(level, depth, config),
      resnet: (inChannels: number, outChannels: number, step?: 'down' | 'up') =>
        new ResnetBlock(inChannels, outChannels, resnetOf(config), step && { resample: step }),
    };
  }
  const { contextNorm, skipTimeActivation, residualScale: scale } = config.deepfloyd!;
  const headChannels = config.deepfloyd![way === 'down' ? 'headChannels' : 'upHeadChannels'];
  return {
    embedding: skipTimeActivation ? ('plain' as const) : ('activated' as const),
    attention: (level: number) =>
      new AddedKvAttention(blockChannels[level]!, {
        ...{ context: contextWidth, contextNorm, groups },
        heads: blockChannels[level]! / headChannels[level]!,
        onlyCrossAttention: onlyCrossAttention[level]!,
      }),
    resnet: (inChannels: number, outChannels: number, step?: 'down' | 'up') =>
      new ResnetBlock(inChannels, outChannels, resnetOf(config), { scale, ...(step && { resample: step }) }),
  };
}

function resnetOf(config: UNet2DConditionConfig): ResnetOptions {
  const { groups, epsilon, dropout, activation, timeConditioning, classEmbeddingsConcat } = config;
  const embedding = timeWidthOf(config) * (classEmbeddingsConcat ? 2 : 1);
  return { embedding, groups, epsilon, dropout, activation, timeConditioning };
}

function depthAt(depth: Depth, i: number): number {
  return typeof depth === 'number' ? depth : depth[i]!;
}

function transformer(level: number, depth: number, config: UNet2DConditionConfig): Transformer2D {
  return new Transformer2D(config.blockChannels[level]!, {
    heads: config.heads[level]!,
    depth,
    context: config.contextWidth,
    linearProjection: config.linearProjection,
    onlyCrossAttention: config.onlyCrossAttention[level]!,
    groups: config.groups,
  });
}
