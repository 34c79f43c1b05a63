import {
  classProblems,
  type ForeignConfigOptions,
  foreignConfig,
  InvalidArgumentError,
  isCount,
} from '@mezzotint/core';
import { type ActivationKind, activationKinds } from '@mezzotint/layers';
import { chooser, commonSettings } from './common-settings.js';
import { activationOf, presentName } from './diffusers-names.js';

/** Configuration of {@link UNet2D}. A plain JSON value. */
export interface UNet2DConfig {
  /** Channels of the image. */
  readonly inChannels: number;
  readonly outChannels: number;
  /** Width of each level, full resolution first; each level below has half the pixels a side. */
  readonly blockChannels: readonly number[];
  /** Residual blocks a level on the way down; on the way up there is one more. */
  readonly layersPerBlock: number;
  /** Which levels have attention on the way down, full resolution first. */
  readonly downAttention: readonly boolean[];
  /** Which levels have attention on the way up, lowest resolution first. */
  readonly upAttention: readonly boolean[];
  /** How a level steps down, full resolution first, and up, lowest resolution first: a convolution or a residual block. */
  readonly downResample: readonly Resample[];
  readonly upResample: readonly Resample[];
  /** Two residual blocks at the lowest resolution. */
  readonly mid: boolean;
  /** Attention between them. */
  readonly midAttention: boolean;
  /** Groups of the norm before that attention; null for no norm. */
  readonly midGroups: number | null;
  /** Channels of an attention head; null for one head. */
  readonly headChannels: number | null;
  /** In residual blocks; the time's embedding and the output have SiLU. */
  readonly activation: ActivationKind;
  /** How the time enters residual blocks: added before the second norm, or as scale and shift after it. */
  readonly timeConditioning: 'additive' | 'scale-shift';
  /** Groups of every other GroupNorm. */
  readonly groups: number;
  /** Epsilon of every GroupNorm. */
  readonly epsilon: number;
  /** Dropout rate inside residual blocks; applied only when a forward pass is given an `rng`. */
  readonly dropout: number;
  /**
   * The embedding of the time: of the frequencies of a table, or of its logarithm and random frequencies that the weights hold;
   * then the time is a noise level, and the output is divided by it (Song et al. 2021).
   */
  readonly timeEmbeddingType: 'sinusoidal' | 'fourier';
  /** Width of the time's embedding; null for 4 times that of full resolution. */
  readonly timeWidth: number | null;
  /** Which half of the sinusoidal embedding comes first. */
  readonly timeOrder: 'sin-cos' | 'cos-sin';
  /** 1: the lowest frequency is 1/10000 (DDPM); 0: it is one step above (ADM). */
  readonly frequencyShift: number;
  /** Zeros around the image before a step down: 1 on each side, or 0, which is one at the bottom and the right (DDPM). */
  readonly downsamplePadding: 0 | 1;
  /** Images come in [0, 1] and are mapped to [-1, 1] first. */
  readonly centerInput: boolean;
  /** What the residual sums of the middle are divided by. */
  readonly midScale: number;
  /**
   * Classes, the null label not counted; a number that goes the way of the time, or a vector as wide as its embedding; null:
   * unconditional.
   */
  readonly classes: number | 'time' | 'vector' | null;
  /** A row behind those of the classes, the label `classes`, that means "no label" (classifier-free guidance). */
  readonly nullLabel: boolean;
}

/** A step between levels: a convolution, or a residual block that resamples. */
export type Resample = 'conv' | 'residual';

const defaults = {
  in_channels: 3,
  out_channels: 3,
  center_input_sample: false,
  freq_shift: 0,
  flip_sin_to_cos: true,
  down_block_types: ['DownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D'],
  up_block_types: ['AttnUpBlock2D', 'AttnUpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'],
  block_out_channels: [224, 448, 672, 896],
  layers_per_block: 2,
  mid_block_scale_factor: 1,
  downsample_padding: 1,
  dropout: 0,
  attention_head_dim: 8,
  norm_num_groups: 32,
  norm_eps: 1e-5,
  add_attention: true,
  num_class_embeds: null,
  time_embedding_type: 'positional',
  time_embedding_dim: null,
  mid_block_type: 'UNetMidBlock2D',
  downsample_type: 'conv',
  upsample_type: 'conv',
  act_fn: 'silu',
  attn_norm_num_groups: null,
  resnet_time_scale_shift: 'default',
  class_embed_type: null,
};

/** The nominal size changes nothing in the network; names with an underscore are diffusers' own notes. */
const ignored = (key: string) => key === 'sample_size' || key === 'num_train_timesteps' || key.startsWith('_');

/**
 * Our configuration from the config.json of diffusers' `UNet2DModel` (absent keys take that class's defaults).
 * @throws InvalidArgumentError naming every unknown or unsupported key
 */
export function unet2dFromDiffusers(json: unknown, options: ForeignConfigOptions = {}): UNet2DConfig {
  const who = 'unet2dFromDiffusers';
  const read = foreignConfig(who, json, { defaults, fixed: {}, ignored }, options);
  const problems: string[] = [];
  const only = chooser(read, problems);
  const steps = (way: 'Down' | 'Up') => {
    const key = `${way.toLowerCase()}_block_types`;
    const attentionSteps = only(way === 'Down' ? 'downsample_type' : 'upsample_type', ['conv', 'resnet']);
    return blocksOf(key, read(key), way, attentionSteps === 'resnet' ? 'residual' : 'conv', problems);
  };
  const [down, up] = [steps('Down'), steps('Up')];
  const mid = only('mid_block_type', ['UNetMidBlock2D', null]) !== null;
  const common = commonSettings(read, only);
  const classType = only('class_embed_type', [null, 'timestep', 'identity']);
  const activation = activationOf('act_fn', read('act_fn'), problems);
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  const classes: Readonly<Record<string, 'time' | 'vector'>> = { timestep: 'time', identity: 'vector' };
  return {
    ...common,
    layersPerBlock: read('layers_per_block') as number,
    downAttention: down.map(({ attention }) => attention),
    upAttention: up.map(({ attention }) => attention),
    downResample: down.map(({ resample }) => resample),
    upResample: up.map(({ resample }) => resample),
    mid,
    midAttention: read('add_attention') as boolean,
    // As UNetMidBlock2D has it: with scale and shift there is no norm unless it is asked for.
    midGroups:
      (read('attn_norm_num_groups') as number | null) ??
      (common.timeConditioning === 'scale-shift' ? null : common.groups),
    headChannels: read('attention_head_dim') as number | null,
    activation,
    classes: classType === null ? (read('num_class_embeds') as number | null) : classes[classType]!,
    nullLabel: false,
  };
}

interface Block {
  readonly attention: boolean;
  readonly resample: Resample;
}

/** diffusers' blocks of a way: plain ones step by convolutions, `Resnet…` by residual blocks, those with attention as they are told. */
function blocksOf(key: string, types: unknown, way: 'Down' | 'Up', ofAttention: Resample, problems: string[]): Block[] {
  const known: Readonly<Record<string, Block>> = {
    [`${way}Block2D`]: { attention: false, resample: 'conv' },
    [`Resnet${way}sampleBlock2D`]: { attention: false, resample: 'residual' },
    [`Attn${way}Block2D`]: { attention: true, resample: ofAttention },
  };
  const found = Array.isArray(types)
    ? types.map((type) => new Map(Object.entries(known)).get(presentName(type)))
    : [undefined];
  if (found.every((block) => block !== undefined)) return found;
  problems.push(`${key}: expected a list of ${Object.keys(known).join(', ')}, got ${JSON.stringify(types)}`);
  return [];
}

/** The classes of a table; null where the model has none, or has classes in another form. */
export function classTable({ classes }: UNet2DConfig): number | null {
  return classes === 'time' || classes === 'vector' ? null : classes;
}

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateUNet2DConfig(who: string, config: UNet2DConfig): void {
  const { inChannels, outChannels, blockChannels, layersPerBlock, groups, nullLabel } = config;
  const optional = { midGroups: config.midGroups, timeWidth: config.timeWidth, headChannels: config.headChannels };
  const counts = {
    inChannels,
    outChannels,
    layersPerBlock,
    groups,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== null)),
  };
  const problems = Object.entries(counts)
    .filter(([, value]) => !isCount(value))
    .map(([name, value]) => `${name}: expected a whole number of at least 1, got ${JSON.stringify(value)}`);
  problems.push(...classProblems({ classes: classTable(config), nullLabel }));
  if (layersPerBlock > 64) problems.push(`layersPerBlock: expected at most 64, got ${layersPerBlock}`);
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    problems.push(`dropout: expected a rate in [0, 1), got ${config.dropout}`);
  }
  if (!(config.epsilon > 0)) problems.push(`epsilon: expected a positive number, got ${config.epsilon}`);
  if (!(config.midScale > 0)) problems.push(`midScale: expected a positive number, got ${config.midScale}`);
  if (!activationKinds.includes(config.activation)) {
    problems.push(
      `activation: expected one of ${activationKinds.join(', ')}, got ${JSON.stringify(config.activation)}`,
    );
  }
  if (!(Number.isFinite(config.frequencyShift) && config.frequencyShift >= 0)) {
    problems.push(`frequencyShift: expected a number of at least 0, got ${config.frequencyShift}`);
  }
  if (config.downsamplePadding !== 0 && config.downsamplePadding !== 1) {
    problems.push(`downsamplePadding: expected 0 or 1, got ${config.downsamplePadding}`);
  }
  if (
    !Array.isArray(blockChannels) ||
    blockChannels.length === 0 ||
    blockChannels.length > 12 ||
    !blockChannels.every(isCount)
  ) {
    problems.push(`blockChannels: expected 1 to 12 whole numbers, got ${JSON.stringify(blockChannels)}`);
  }
  if (problems.length === 0) problems.push(...relationProblems(config));
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}

function relationProblems(config: UNet2DConfig): string[] {
  const { blockChannels, groups, headChannels } = config;
  const levels = blockChannels.length;
  const problems: string[] = [];
  const { downAttention, upAttention, downResample, upResample, midGroups } = config;
  for (const [name, list] of Object.entries({ downAttention, upAttention, downResample, upResample })) {
    if (list.length !== levels) problems.push(`${name}: expected one for each of ${levels} levels, got ${list.length}`);
  }
  if (config.frequencyShift >= Math.floor(blockChannels[0]! / 2)) {
    problems.push(
      `frequencyShift: expected less than half the width ${blockChannels[0]}, got ${config.frequencyShift}`,
    );
  }
  if (blockChannels[0]! < 4)
    problems.push(`blockChannels[0]: expected at least 4 for the time embedding, got ${blockChannels[0]}`);
  blockChannels.forEach((channels, level) => {
    if (channels % groups !== 0)
      problems.push(`groups: ${groups} groups do not divide the ${channels} channels of level ${level}`);
    const middle = level === levels - 1 && config.mid && config.midAttention;
    if (middle && midGroups !== null && channels % midGroups !== 0) {
      problems.push(`midGroups: ${midGroups} groups do not divide the ${channels} channels of level ${level}`);
    }
    const attends = middle || config.downAttention[level] || config.upAttention[levels - 1 - level];
    if (attends && headChannels !== null && channels % headChannels !== 0) {
      problems.push(
        `headChannels: ${headChannels} channels a head do not divide the ${channels} channels of level ${level}`,
      );
    }
  });
  return problems;
}
