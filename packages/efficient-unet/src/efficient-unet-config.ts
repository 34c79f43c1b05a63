import { countProblems, foreignConfig, InvalidArgumentError, positiveProblems, throwIf } from '@mezzotint/core';

/** Configuration of {@link EfficientUNet}. A plain JSON value. */
export interface EfficientUNetConfig {
  /** Pixels a side that the model is for; other multiples of {@link sizeMultiple} are taken too. */
  readonly imageSize: number;
  /** Channels of the image. */
  readonly inChannels: number;
  /** Channels of the answer. */
  readonly outChannels: number;
  /** Channels behind the first convolution, C. */
  readonly modelChannels: number;
  /** Channels of each level as multiples of C, from the finest level to the coarsest. */
  readonly channelMult: readonly number[];
  /** ResNet blocks of each level, beside the first one, which sees the text. */
  readonly resBlocks: readonly number[];
  /** Levels with self-attention behind their ResNet blocks. */
  readonly selfAttention: readonly boolean[];
  /** Transformer blocks where a level has self-attention. */
  readonly attentionDepth: readonly number[];
  /** Levels whose first ResNet block attends to the text. */
  readonly crossAttention: readonly boolean[];
  /** Transformer blocks in the middle; 0 for none. */
  readonly midAttentionDepth: number;
  /** Heads, and channels of each. The two blocks in the middle attend to the text with 8 heads of 64 channels. */
  readonly heads: number;
  readonly headWidth: number;
  /** Hidden width of the feed-forwards as a multiple of the width. */
  readonly mlpRatio: number;
  /**
   * Efficient U-Net (Imagen, appendix B): downsampling before a level's convolutions and upsampling behind them. Without it,
   * the other way round, as in the base model.
   */
  readonly efficient: boolean;
  /** The network sees a low-resolution picture of x's size and is told its noise level. */
  readonly lowRes: boolean;
  /** Width and most tokens of the text; null for a model without text. */
  readonly text: { readonly width: number; readonly maxTokens: number; readonly poolTokens: number | null } | null;
  /** Width of condition tokens. */
  readonly conditionWidth: number;
  /** Condition tokens that are made of the time. */
  readonly timeTokens: number;
  /** Learned frequencies of the time embedding, sines and cosines counted. */
  readonly fourierWidth: number;
  /** Kernels of the first convolution, side by side; half the channels for the smallest, a quarter for the next, and so on. */
  readonly firstKernels: readonly number[];
  readonly lastKernel: number;
  /** Scales the skip connections by 1 / sqrt(2). Imagen, appendix B. */
  readonly scaleSkips: boolean;
  /** Gates the ResNet blocks by attention pooling over the image (global context). */
  readonly globalContext: boolean;
  /** Upsampling by a 1x1 convolution and pixel shuffle, or by nearest neighbours and a 3x3 convolution. */
  readonly upsampling: 'pixel-shuffle' | 'nearest';
  /** A last ResNet block. */
  readonly lastBlock: boolean;
  /** The last block sees the output of the first convolution too. */
  readonly firstToLast: boolean;
}

/** Most levels and blocks that are built: far above any published model, far below what a hostile file asks for. */
const maxLevels = 16;
const maxBlocks = 256;

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateEfficientUNetConfig(who: string, config: EfficientUNetConfig): void {
  const { imageSize, inChannels, outChannels, modelChannels, heads, headWidth, text, channelMult } = config;
  const { conditionWidth, timeTokens, fourierWidth, firstKernels, lastKernel, midAttentionDepth } = config;
  const counts = { imageSize, inChannels, outChannels, modelChannels, heads, headWidth, conditionWidth, timeTokens };
  const problems = [
    ...countProblems({ ...counts, fourierWidth, lastKernel }),
    ...positiveProblems('mlpRatio', config.mlpRatio),
    ...(text === null ? [] : countProblems({ 'text.width': text?.width, 'text.maxTokens': text?.maxTokens })),
    ...(text?.poolTokens == null ? [] : countProblems({ 'text.poolTokens': text.poolTokens })),
  ];
  const levels = Array.isArray(channelMult) ? channelMult.length : 0;
  if (levels < 1 || levels > maxLevels) {
    problems.push(`channelMult: expected 1 to ${maxLevels} numbers, got ${JSON.stringify(channelMult)}`);
  }
  const lists = {
    channelMult: (value: unknown) => typeof value === 'number' && Number.isInteger(value * modelChannels) && value > 0,
    resBlocks: (value: unknown) => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= maxBlocks,
    attentionDepth: (value: unknown) =>
      Number.isInteger(value) && (value as number) >= 1 && (value as number) <= maxBlocks,
    selfAttention: (value: unknown) => typeof value === 'boolean',
    crossAttention: (value: unknown) => typeof value === 'boolean',
  };
  for (const [name, fits] of Object.entries(lists)) {
    const list = config[name as keyof typeof lists] as readonly unknown[];
    if (!Array.isArray(list) || list.length !== levels || !list.every(fits)) {
      problems.push(
        `${name}: expected one fitting value for each of the ${levels} levels, got ${JSON.stringify(list)}`,
      );
    }
  }
  if (!(Number.isInteger(midAttentionDepth) && midAttentionDepth >= 0 && midAttentionDepth <= maxBlocks))
    problems.push(`midAttentionDepth: expected a whole number from 0 to ${maxBlocks}, got ${midAttentionDepth}`);
  if (!Array.isArray(firstKernels) || firstKernels.length < 1 || !firstKernels.every((k) => k >= 1 && k % 2 === 1))
    problems.push(`firstKernels: expected odd sizes, got ${JSON.stringify(firstKernels)}`);
  if (lastKernel % 2 !== 1) problems.push(`lastKernel: expected an odd size, got ${lastKernel}`);
  if (fourierWidth % 2 !== 0) problems.push(`fourierWidth: expected an even width, got ${fourierWidth}`);
  if (!['pixel-shuffle', 'nearest'].includes(config.upsampling))
    problems.push(`upsampling: expected pixel-shuffle or nearest, got ${JSON.stringify(config.upsampling)}`);
  for (const name of ['efficient', 'lowRes', 'scaleSkips', 'globalContext', 'lastBlock', 'firstToLast'] as const) {
    if (typeof config[name] !== 'boolean') problems.push(`${name}: expected true or false, got ${config[name]}`);
  }
  if (problems.length === 0 && modelChannels < 2 ** (firstKernels.length - 1))
    problems.push(
      `modelChannels: expected at least ${2 ** (firstKernels.length - 1)} for ${firstKernels.length} first kernels`,
    );
  throwIf(who, problems);
}

/** What must divide height and width. */
export function sizeMultiple({ channelMult, efficient }: EfficientUNetConfig): number {
  return 2 ** (efficient ? channelMult.length : channelMult.length - 1);
}

const reference = {
  text_embed_dim: 768,
  num_resnet_blocks: 1,
  cond_dim: null,
  num_image_tokens: 4,
  num_time_tokens: 2,
  learned_sinu_pos_emb_dim: 16,
  dim_mults: [1, 2, 4, 8],
  channels: 3,
  channels_out: null,
  attn_dim_head: 64,
  attn_heads: 8,
  ff_mult: 2,
  lowres_cond: false,
  layer_attns: true,
  layer_attns_depth: 1,
  layer_mid_attns_depth: 1,
  attend_at_middle: true,
  layer_cross_attns: true,
  cond_on_text: true,
  max_text_len: 256,
  init_conv_kernel_size: 7,
  init_cross_embed: true,
  init_cross_embed_kernel_sizes: [3, 7, 15],
  attn_pool_text: true,
  attn_pool_num_latents: 32,
  memory_efficient: false,
  init_conv_to_final_conv_residual: false,
  use_global_context_attn: true,
  scale_skip_connection: true,
  final_resnet_block: true,
  final_conv_kernel_size: 3,
  pixel_shuffle_upsample: true,
};

/** Settings that are built only as they are when absent. */
const fixed = {
  use_linear_attn: false,
  use_linear_cross_attn: false,
  cross_embed_downsample: false,
  self_cond: false,
  combine_upsample_fmaps: false,
  cond_images_channels: 0,
  init_dim: null,
};

/** Settings that its class takes and does not use. */
const ignored = (key: string) =>
  ['dropout', 'out_dim', 'resize_mode', 'layer_attns_add_text_cond', 'cross_embed_downsample_kernel_sizes'].includes(
    key,
  );

/**
 * Our configuration from the arguments of `Unet` of imagen-pytorch (absent keys take that class's defaults; `dim` is required).
 * `image_size` is ours: that class does not know its size.
 *
 * @throws InvalidArgumentError naming every unknown, missing or unsupported key
 */
export function efficientUNetFromImagenPytorch(json: unknown, { imageSize = 64 } = {}): EfficientUNetConfig {
  const who = 'efficientUNetFromImagenPytorch';
  const read = foreignConfig(who, json, { defaults: { ...reference, dim: undefined }, fixed, ignored });
  const dim = read('dim') as number;
  const channelMult = read('dim_mults') as number[];
  if (!Array.isArray(channelMult)) {
    throw new InvalidArgumentError(who, `dim_mults: expected a list of numbers, got ${JSON.stringify(channelMult)}`);
  }
  const byLevel = <T>(key: string): T[] => {
    const value = read(key) as T | T[];
    return Array.isArray(value) ? value : channelMult.map(() => value);
  };
  const pooled = read('attn_pool_text') ? (read('attn_pool_num_latents') as number) : null;
  return {
    imageSize,
    inChannels: read('channels') as number,
    outChannels: (read('channels_out') ?? read('channels')) as number,
    modelChannels: dim,
    channelMult,
    resBlocks: byLevel('num_resnet_blocks'),
    selfAttention: byLevel('layer_attns'),
    attentionDepth: byLevel('layer_attns_depth'),
    crossAttention: byLevel('layer_cross_attns'),
    midAttentionDepth: read('attend_at_middle') ? (read('layer_mid_attns_depth') as number) : 0,
    heads: read('attn_heads') as number,
    headWidth: read('attn_dim_head') as number,
    mlpRatio: read('ff_mult') as number,
    efficient: read('memory_efficient') as boolean,
    lowRes: read('lowres_cond') as boolean,
    text: read('cond_on_text')
      ? { width: read('text_embed_dim') as number, maxTokens: read('max_text_len') as number, poolTokens: pooled }
      : null,
    conditionWidth: (read('cond_dim') ?? dim) as number,
    timeTokens: read('num_time_tokens') as number,
    fourierWidth: read('learned_sinu_pos_emb_dim') as number,
    firstKernels: read('init_cross_embed')
      ? [...(read('init_cross_embed_kernel_sizes') as number[])].sort((a, b) => a - b)
      : [read('init_conv_kernel_size') as number],
    lastKernel: read('final_conv_kernel_size') as number,
    scaleSkips: read('scale_skip_connection') as boolean,
    globalContext: read('use_global_context_attn') as boolean,
    upsampling: read('pixel_shuffle_upsample') ? 'pixel-shuffle' : 'nearest',
    lastBlock: read('final_resnet_block') as boolean,
    firstToLast: read('init_conv_to_final_conv_residual') as boolean,
  };
}
