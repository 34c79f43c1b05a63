import { foreignConfig, InvalidArgumentError, isCount } from '@mezzotint/core';

/** Configuration of {@link UNet2DCondition}. A plain JSON value. Lists by level start at full resolution. */
export interface UNet2DConditionConfig {
  /** Channels of the latent image; more where something is stacked on it (inpainting: 9). */
  readonly inChannels: number;
  readonly outChannels: number;
  /** Width of each level; each level below has half the pixels a side. */
  readonly blockChannels: readonly number[];
  /** Residual blocks of each level on the way down; on the way up there is one more. */
  readonly resBlocks: readonly number[];
  /** Which levels have transformers on the way down. */
  readonly downAttention: readonly boolean[];
  /** Which levels have transformers on the way up; by level too, full resolution first. */
  readonly upAttention: readonly boolean[];
  /** Two residual blocks and a transformer at the lowest resolution. */
  readonly mid: boolean;
  /** Attention heads of each level; the last holds for the middle. */
  readonly heads: readonly number[];
  /** Blocks of a transformer of each level; the last holds for the middle. */
  readonly depth: readonly number[];
  /** At which levels the first attention of a block sees the context too; never in the middle. */
  readonly onlyCrossAttention: readonly boolean[];
  /** Transformers with linear maps in and out (SD 2, SDXL), not convolutions (SD 1). */
  readonly linearProjection: boolean;
  /** Width of the context: 768 for CLIP ViT-L, 1024 for OpenCLIP ViT-H, 2048 for SDXL's pair. */
  readonly contextWidth: number;
  /** Groups of every GroupNorm. */
  readonly groups: number;
  /** Epsilon of the residual blocks' GroupNorm (the transformers' is 1e-6). */
  readonly epsilon: number;
  /** Dropout rate inside residual blocks; applied only when a forward pass is given an `rng`. */
  readonly dropout: number;
  /** Which half of the time embedding comes first. */
  readonly timeOrder: 'sin-cos' | 'cos-sin';
  /** 0: frequencies 10000^(-i / half); 1: 10000^(-i / (half - 1)). */
  readonly timeShift: number;
  /** Width of what is added to the time embedding before its two maps (distilled guidance, LCM: 256); null for none. */
  readonly timeConditionWidth: number | null;
  /** What is added to the time: a class of a table (SD's x4 upscaler: its noise level), a mapped vector, or nothing. */
  readonly classes: { readonly table: number } | { readonly vector: number } | null;
  /** SDXL: pooled text and numbers (sizes, crop, score), each number a wave of `numberWidth`, `width` in all; or null. */
  readonly textAndNumbers: { readonly numberWidth: number; readonly width: number } | null;
}

const defaults = {
  in_channels: 4,
  out_channels: 4,
  flip_sin_to_cos: true,
  freq_shift: 0,
  down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
  mid_block_type: 'UNetMidBlock2DCrossAttn',
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
  only_cross_attention: false,
  block_out_channels: [320, 640, 1280, 1280],
  layers_per_block: 2,
  dropout: 0,
  norm_num_groups: 32,
  norm_eps: 1e-5,
  cross_attention_dim: 1280,
  transformer_layers_per_block: 1,
  attention_head_dim: 8,
  use_linear_projection: false,
  class_embed_type: null,
  addition_embed_type: null,
  addition_time_embed_dim: null,
  num_class_embeds: null,
  time_cond_proj_dim: null,
  projection_class_embeddings_input_dim: null,
};

const fixed = {
  center_input_sample: false,
  downsample_padding: 1,
  mid_block_scale_factor: 1,
  act_fn: 'silu',
  reverse_transformer_layers_per_block: null,
  encoder_hid_dim: null,
  encoder_hid_dim_type: null,
  num_attention_heads: null,
  dual_cross_attention: false,
  resnet_time_scale_shift: 'default',
  resnet_skip_time_act: false,
  resnet_out_scale_factor: 1,
  time_embedding_type: 'positional',
  time_embedding_dim: null,
  time_embedding_act_fn: null,
  timestep_post_act: null,
  conv_in_kernel: 3,
  conv_out_kernel: 3,
  attention_type: 'default',
  class_embeddings_concat: false,
  cross_attention_norm: null,
};

/**
 * The nominal size, the precision of attention, and settings of embeddings and blocks that we refuse elsewhere change
 * nothing in the network; names with an underscore are diffusers' own notes.
 */
const ignored = (key: string) =>
  ['sample_size', 'upcast_attention', 'addition_embed_type_num_heads', 'mid_block_only_cross_attention'].includes(
    key,
  ) || key.startsWith('_');

/**
 * Our configuration from the config.json of diffusers' `UNet2DConditionModel` (absent keys take that class's defaults).
 * Its `attention_head_dim` is the number of heads, whatever the name says.
 *
 * @throws InvalidArgumentError naming every unknown or unsupported key
 */
export function unet2dConditionFromDiffusers(json: unknown): UNet2DConditionConfig {
  const who = 'unet2dConditionFromDiffusers';
  const read = foreignConfig(who, json, { defaults, fixed, ignored });
  const problems: string[] = [];
  const attends = (key: string, plain: string, attending: string): boolean[] => {
    const types = read(key);
    if (Array.isArray(types) && types.every((type) => type === plain || type === attending)) {
      return types.map((type) => type === attending);
    }
    problems.push(`${key}: expected a list of ${plain} and ${attending}, got ${JSON.stringify(types)}`);
    return [];
  };
  const downAttention = attends('down_block_types', 'DownBlock2D', 'CrossAttnDownBlock2D');
  const upAttention = attends('up_block_types', 'UpBlock2D', 'CrossAttnUpBlock2D').reverse();
  const byLevel = <T>(key: string): T[] => {
    const value = read(key);
    return Array.isArray(value) ? value : downAttention.map(() => value as T);
  };
  const only = <T>(key: string, values: readonly T[]): T => {
    const value = read(key) as T;
    if (!values.includes(value)) problems.push(`${key}: expected ${oneOf(values)}, got ${JSON.stringify(value)}`);
    return value;
  };
  const mid = only('mid_block_type', ['UNetMidBlock2DCrossAttn', null]) !== null;
  const classType = only('class_embed_type', [null, 'projection']);
  const addition = only('addition_embed_type', [null, 'text_time']);
  const width = read('projection_class_embeddings_input_dim') as number;
  const table = read('num_class_embeds') as number | null;
  if (classType !== null && addition !== null) {
    problems.push(
      `class_embed_type and addition_embed_type: expected one of them at most, got ${classType} and ${addition}`,
    );
  }
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  return {
    inChannels: read('in_channels') as number,
    outChannels: read('out_channels') as number,
    blockChannels: read('block_out_channels') as number[],
    resBlocks: byLevel('layers_per_block'),
    downAttention,
    upAttention,
    mid,
    heads: byLevel('attention_head_dim'),
    depth: byLevel('transformer_layers_per_block'),
    onlyCrossAttention: byLevel('only_cross_attention'),
    linearProjection: read('use_linear_projection') as boolean,
    contextWidth: read('cross_attention_dim') as number,
    groups: read('norm_num_groups') as number,
    epsilon: read('norm_eps') as number,
    dropout: read('dropout') as number,
    timeOrder: read('flip_sin_to_cos') ? 'cos-sin' : 'sin-cos',
    timeShift: read('freq_shift') as number,
    timeConditionWidth: read('time_cond_proj_dim') as number | null,
    classes: classType !== null ? { vector: width } : table !== null ? { table } : null,
    textAndNumbers: addition === null ? null : { numberWidth: read('addition_time_embed_dim') as number, width },
  };
}

function oneOf(values: readonly unknown[]): string {
  return values.map((value) => JSON.stringify(value)).join(' or ');
}

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateUNet2DConditionConfig(who: string, config: UNet2DConditionConfig): void {
  const { classes, textAndNumbers } = config;
  const counts: Record<string, unknown> = {
    inChannels: config.inChannels,
    outChannels: config.outChannels,
    contextWidth: config.contextWidth,
    groups: config.groups,
    ...(config.timeConditionWidth !== null && { timeConditionWidth: config.timeConditionWidth }),
    ...(classes !== null &&
      ('table' in classes ? { 'classes.table': classes.table } : { 'classes.vector': classes.vector })),
    ...(textAndNumbers !== null && {
      'textAndNumbers.numberWidth': textAndNumbers.numberWidth,
      'textAndNumbers.width': textAndNumbers.width,
    }),
  };
  const problems = Object.entries(counts)
    .filter(([, value]) => !isCount(value))
    .map(([name, value]) => `${name}: expected a whole number of at least 1, got ${JSON.stringify(value)}`);
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    problems.push(`dropout: expected a rate in [0, 1), got ${config.dropout}`);
  }
  if (!(config.epsilon > 0)) problems.push(`epsilon: expected a positive number, got ${config.epsilon}`);
  if (config.timeShift !== 0 && config.timeShift !== 1) {
    problems.push(`timeShift: expected 0 or 1, got ${config.timeShift}`);
  }
  problems.push(...levelProblems(config));
  if (problems.length === 0) problems.push(...relationProblems(config));
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}

/** The longest lists and deepest blocks that anyone built are 4 levels, 3 blocks a level and 10 deep. */
const MOST = { levels: 12, resBlocks: 64, depth: 256 };

function levelProblems(config: UNet2DConditionConfig): string[] {
  const { blockChannels } = config;
  if (!Array.isArray(blockChannels) || blockChannels.length === 0 || blockChannels.length > MOST.levels) {
    return [`blockChannels: expected 1 to ${MOST.levels} whole numbers, got ${JSON.stringify(blockChannels)}`];
  }
  const isFlag = (value: unknown) => typeof value === 'boolean';
  const upTo = (most: number) => (value: unknown) => isCount(value) && (value as number) <= most;
  const lists = [
    ['blockChannels', isCount, 'a whole number of at least 1'],
    ['resBlocks', upTo(MOST.resBlocks), `a whole number from 1 to ${MOST.resBlocks}`],
    ['heads', isCount, 'a whole number of at least 1'],
    ['depth', (value: unknown) => value === 0 || upTo(MOST.depth)(value), `a whole number from 0 to ${MOST.depth}`],
    ['downAttention', isFlag, 'true or false'],
    ['upAttention', isFlag, 'true or false'],
    ['onlyCrossAttention', isFlag, 'true or false'],
  ] as const;
  return lists
    .filter(([name, fits]) => {
      const list: unknown = config[name];
      return !(Array.isArray(list) && list.length === blockChannels.length && list.every(fits));
    })
    .map(
      ([name, , expected]) =>
        `${name}: expected ${expected} for each of ${blockChannels.length} levels, got ${JSON.stringify(config[name])}`,
    );
}

function relationProblems({
  blockChannels,
  groups,
  heads,
  textAndNumbers,
  ...config
}: UNet2DConditionConfig): string[] {
  const problems: string[] = [];
  if (blockChannels[0]! < 4) {
    problems.push(`blockChannels[0]: expected at least 4 for the time embedding, got ${blockChannels[0]}`);
  }
  blockChannels.forEach((channels, level) => {
    if (channels % groups !== 0) {
      problems.push(`groups: ${groups} groups do not divide the ${channels} channels of level ${level}`);
    }
    const middle = config.mid && level === blockChannels.length - 1;
    const attends = middle || config.downAttention[level] || config.upAttention[level];
    if (attends && channels % heads[level]! !== 0) {
      problems.push(`heads: ${heads[level]} heads do not divide the ${channels} channels of level ${level}`);
    }
  });
  if (textAndNumbers !== null && textAndNumbers.width <= textAndNumbers.numberWidth) {
    const { width, numberWidth } = textAndNumbers;
    problems.push(`textAndNumbers.width: expected more than one number's ${numberWidth}, got ${width}`);
  }
  return problems;
}
