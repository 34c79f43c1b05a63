import { foreignConfig, InvalidArgumentError, isCount } from '@mezzotint/core';

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
  /** Attention in the middle. */
  readonly midAttention: boolean;
  /** Channels of an attention head; null for one head. */
  readonly headChannels: number | null;
  /** Groups of every GroupNorm. */
  readonly groups: number;
  /** Epsilon of every GroupNorm. */
  readonly epsilon: number;
  /** Dropout rate inside residual blocks; applied only when a forward pass is given an `rng`. */
  readonly dropout: number;
  /** Which half of the time embedding comes first. */
  readonly timeOrder: 'sin-cos' | 'cos-sin';
  /** 1: the lowest frequency is 1/10000 (DDPM); 0: it is one step above (ADM). */
  readonly timeShift: number;
  /** Zeros around the image before a step down: 1 on each side, or 0, which is one at the bottom and the right (DDPM). */
  readonly downsamplePadding: 0 | 1;
  /** Images come in [0, 1] and are mapped to [-1, 1] first. */
  readonly centerInput: boolean;
  /** What the residual sums of the middle are divided by. */
  readonly midScale: number;
  /** Rows of the label table; null for an unconditional model. */
  readonly classes: number | null;
}

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
};

const fixed = {
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
export function unet2dFromDiffusers(json: unknown): UNet2DConfig {
  const who = 'unet2dFromDiffusers';
  const read = foreignConfig(who, json, { defaults, fixed, ignored });
  return {
    inChannels: read('in_channels') as number,
    outChannels: read('out_channels') as number,
    blockChannels: read('block_out_channels') as number[],
    layersPerBlock: read('layers_per_block') as number,
    downAttention: attentionOf(who, 'down_block_types', read('down_block_types'), 'DownBlock2D', 'AttnDownBlock2D'),
    upAttention: attentionOf(who, 'up_block_types', read('up_block_types'), 'UpBlock2D', 'AttnUpBlock2D'),
    midAttention: read('add_attention') as boolean,
    headChannels: read('attention_head_dim') as number | null,
    groups: read('norm_num_groups') as number,
    epsilon: read('norm_eps') as number,
    dropout: read('dropout') as number,
    timeOrder: read('flip_sin_to_cos') ? 'cos-sin' : 'sin-cos',
    timeShift: read('freq_shift') as number,
    downsamplePadding: read('downsample_padding') as 0 | 1,
    centerInput: read('center_input_sample') as boolean,
    midScale: read('mid_block_scale_factor') as number,
    classes: read('num_class_embeds') as number | null,
  };
}

function attentionOf(who: string, key: string, types: unknown, plain: string, attending: string): boolean[] {
  if (!Array.isArray(types) || !types.every((type) => type === plain || type === attending)) {
    throw new InvalidArgumentError(
      who,
      `${key}: expected a list of ${plain} and ${attending}, got ${JSON.stringify(types)}`,
    );
  }
  return types.map((type) => type === attending);
}

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateUNet2DConfig(who: string, config: UNet2DConfig): void {
  const { inChannels, outChannels, blockChannels, layersPerBlock, groups, classes } = config;
  const counts = { inChannels, outChannels, layersPerBlock, groups, ...(classes !== null && { classes }) };
  const problems = Object.entries(counts)
    .filter(([, value]) => !isCount(value))
    .map(([name, value]) => `${name}: expected a whole number of at least 1, got ${JSON.stringify(value)}`);
  if (layersPerBlock > 64) problems.push(`layersPerBlock: expected at most 64, got ${layersPerBlock}`);
  if (config.headChannels !== null && !isCount(config.headChannels)) {
    problems.push(
      `headChannels: expected null or a whole number of at least 1, got ${JSON.stringify(config.headChannels)}`,
    );
  }
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    problems.push(`dropout: expected a rate in [0, 1), got ${config.dropout}`);
  }
  if (!(config.epsilon > 0)) problems.push(`epsilon: expected a positive number, got ${config.epsilon}`);
  if (!(config.midScale > 0)) problems.push(`midScale: expected a positive number, got ${config.midScale}`);
  if (config.timeShift !== 0 && config.timeShift !== 1)
    problems.push(`timeShift: expected 0 or 1, got ${config.timeShift}`);
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
  for (const [name, list] of Object.entries({ downAttention: config.downAttention, upAttention: config.upAttention })) {
    if (list.length !== levels) problems.push(`${name}: expected one for each of ${levels} levels, got ${list.length}`);
  }
  if (blockChannels[0]! < 4)
    problems.push(`blockChannels[0]: expected at least 4 for the time embedding, got ${blockChannels[0]}`);
  blockChannels.forEach((channels, level) => {
    if (channels % groups !== 0)
      problems.push(`groups: ${groups} groups do not divide the ${channels} channels of level ${level}`);
    const middle = level === levels - 1 && config.midAttention;
    const attends = middle || config.downAttention[level] || config.upAttention[levels - 1 - level];
    if (attends && headChannels !== null && channels % headChannels !== 0) {
      problems.push(
        `headChannels: ${headChannels} channels a head do not divide the ${channels} channels of level ${level}`,
      );
    }
  });
  return problems;
}
