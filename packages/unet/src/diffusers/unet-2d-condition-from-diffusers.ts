import { type ForeignConfigOptions, foreignConfig, InvalidArgumentError } from '@mezzotint/core';
import { chooser, commonSettings } from './common-settings.js';
import { activationOf, presentName } from './diffusers-names.js';
import type { Classes, DeepFloydSettings, Depth, UNet2DConditionConfig } from './unet-2d-condition-config.js';

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
  center_input_sample: false,
  downsample_padding: 1,
  mid_block_scale_factor: 1,
  act_fn: 'silu',
  reverse_transformer_layers_per_block: null,
  encoder_hid_dim: null,
  encoder_hid_dim_type: null,
  resnet_time_scale_shift: 'default',
  time_embedding_type: 'positional',
  time_embedding_dim: null,
  time_embedding_act_fn: null,
  timestep_post_act: null,
  conv_in_kernel: 3,
  conv_out_kernel: 3,
  class_embeddings_concat: false,
  addition_embed_type_num_heads: 64,
  mid_block_only_cross_attention: null,
  resnet_skip_time_act: false,
  resnet_out_scale_factor: 1,
  cross_attention_norm: null,
};

const fixed = {
  num_attention_heads: null,
  dual_cross_attention: false,
  attention_type: 'default',
};

/** The nominal size and the precision of attention change nothing in the network; names with an underscore are diffusers' notes. */
const ignored = (key: string) => ['sample_size', 'upcast_attention'].includes(key) || key.startsWith('_');

/** A block's name -> what it is. */
const downBlocks: Blocks = {
  DownBlock2D: { attends: false, resample: 'conv' },
  CrossAttnDownBlock2D: { attends: true, resample: 'conv' },
  ResnetDownsampleBlock2D: { attends: false, resample: 'residual' },
  SimpleCrossAttnDownBlock2D: { attends: true, resample: 'residual' },
};
const upBlocks: Blocks = {
  UpBlock2D: { attends: false, resample: 'conv' },
  CrossAttnUpBlock2D: { attends: true, resample: 'conv' },
  ResnetUpsampleBlock2D: { attends: false, resample: 'residual' },
  SimpleCrossAttnUpBlock2D: { attends: true, resample: 'residual' },
};
type Blocks = Readonly<Record<string, { readonly attends: boolean; readonly resample: 'conv' | 'residual' }>>;

const middles = {
  UNetMidBlock2DCrossAttn: 'transformer',
  UNetMidBlock2DSimpleCrossAttn: 'added-kv',
  UNetMidBlock2D: 'residual',
} as const;

/**
 * Our configuration from the config.json of diffusers' `UNet2DConditionModel` (absent keys take that class's defaults).
 * Its `attention_head_dim` is the number of heads, whatever the name says.
 *
 * @throws InvalidArgumentError naming every unknown or unsupported key
 */
export function unet2dConditionFromDiffusers(json: unknown, options: ForeignConfigOptions = {}): UNet2DConditionConfig {
  const who = 'unet2dConditionFromDiffusers';
  const read = foreignConfig(who, json, { defaults, fixed, ignored }, options);
  const problems: string[] = [];
  const blocks = (key: string, known: Blocks) => {
    const types = read(key);
    const names = Array.isArray(types) ? types.map(presentName) : [''];
    if (names.every((name) => Object.hasOwn(known, name))) return names.map((name) => known[name]!);
    problems.push(`${key}: expected a list of ${Object.keys(known).join(', ')}, got ${JSON.stringify(types)}`);
    return [];
  };
  const down = blocks('down_block_types', downBlocks);
  const up = blocks('up_block_types', upBlocks).reverse();
  const downAttention = down.map(({ attends }) => attends);
  const upAttention = up.map(({ attends }) => attends);
  const byLevel = <T>(key: string): T[] => {
    const value = read(key);
    return Array.isArray(value) ? value : downAttention.map(() => value as T);
  };
  const only = chooser(read, problems);
  const midType = only('mid_block_type', [...(Object.keys(middles) as (keyof typeof middles)[]), null]);
  const classType = only('class_embed_type', [null, 'timestep', 'identity', 'projection', 'simple_projection']);
  const addition = only('addition_embed_type', [null, 'text', 'text_time']);
  const common = commonSettings(read, only);
  only('encoder_hid_dim_type', [null, 'text_proj']);
  const textWidth = read('encoder_hid_dim') as number | null;
  if (read('encoder_hid_dim_type') !== null && textWidth === null) {
    problems.push('encoder_hid_dim: expected a width, since encoder_hid_dim_type is text_proj, got null');
  }
  const act = (key: string) => activationOf(key, read(key), problems);
  const optionalAct = (key: string) => (read(key) === null ? null : act(key));
  const activation = act('act_fn');
  const [timePost, embeddingActivation] = [optionalAct('timestep_post_act'), optionalAct('time_embedding_act_fn')];
  const width = read('projection_class_embeddings_input_dim') as number;
  const contextWidth = oneWidth(read('cross_attention_dim'), [downAttention, upAttention], problems);
  const reversed = read('reverse_transformer_layers_per_block');
  const depth = byLevel<Depth>('transformer_layers_per_block');
  if (reversed === null && depth.some((blocks) => Array.isArray(blocks))) {
    problems.push(
      'reverse_transformer_layers_per_block: expected the depths on the way up, since those on the way down are lists, got null',
    );
  } else if (reversed !== null && !Array.isArray(reversed)) {
    problems.push(
      `reverse_transformer_layers_per_block: expected a list by level, lowest resolution first, got ${JSON.stringify(reversed)}`,
    );
  }
  const mid = midType === null ? null : middles[midType];
  const isDeepFloyd = mid === 'added-kv' || [...down, ...up].some(({ resample }) => resample === 'residual');
  const onlyCross = read('only_cross_attention');
  const norm = only('cross_attention_norm', [null, 'layer_norm', 'group_norm']);
  const headChannels = byLevel<number | null>('attention_head_dim');
  const deepfloyd: DeepFloydSettings = {
    headChannels: headChannels.map((width, level) => width ?? common.blockChannels[level]!),
    // diffusers reads this list from its beginning on the way up too, where levels come from the lowest resolution.
    upHeadChannels: headChannels.toReversed().map((width, level) => width ?? common.blockChannels[level]!),
    contextNorm: norm === null ? null : norm === 'layer_norm' ? 'layer' : 'group',
    midOnlyCrossAttention: (read('mid_block_only_cross_attention') ?? onlyCross) === true,
    skipTimeActivation: read('resnet_skip_time_act') as boolean,
    residualScale: read('resnet_out_scale_factor') as number,
  };
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  return {
    ...common,
    resBlocks: byLevel('layers_per_block'),
    downAttention,
    upAttention,
    downResample: down.map(({ resample }) => resample),
    upResample: up.map(({ resample }) => resample),
    mid,
    heads: byLevel<number | null>('attention_head_dim').map((heads) => heads ?? 1),
    depth,
    upDepth: reversed === null ? null : (reversed as Depth[]).toReversed(),
    onlyCrossAttention: byLevel('only_cross_attention'),
    linearProjection: read('use_linear_projection') as boolean,
    contextWidth,
    textWidth,
    kernelIn: read('conv_in_kernel') as number,
    kernelOut: read('conv_out_kernel') as number,
    activation,
    timePost,
    embeddingActivation,
    timeCondProjDim: read('time_cond_proj_dim') as number | null,
    classes: classesOf(classType, width, read('num_class_embeds') as number | null),
    classEmbeddingsConcat: read('class_embeddings_concat') as boolean,
    textTime: addition !== 'text_time' ? null : { numberWidth: read('addition_time_embed_dim') as number, width },
    textPooling: addition !== 'text' ? null : { heads: read('addition_embed_type_num_heads') as number },
    deepfloyd: isDeepFloyd ? deepfloyd : null,
  };
}

function classesOf(type: string | null, width: number, table: number | null): Classes | null {
  switch (type) {
    case 'timestep':
      return 'time';
    case 'identity':
      return 'vector';
    case 'projection':
      return { vector: width };
    case 'simple_projection':
      return { linear: width };
    default:
      return table === null ? null : { table };
  }
}

/** The width of the context, which may be given by level; it counts where there are transformers. */
function oneWidth(value: unknown, attention: readonly (readonly boolean[])[], problems: string[]): number {
  if (!Array.isArray(value)) return value as number;
  const last = value.length - 1;
  const counts = value.filter((_, level) => level === last || attention.some((levels) => levels[level]));
  if (value.length !== attention[0]!.length || new Set(counts).size !== 1) {
    problems.push(`cross_attention_dim: expected one width, the same at all levels, got ${JSON.stringify(value)}`);
  }
  return value[last];
}
