import {
  choiceProblems,
  classProblems,
  countProblems,
  foreignConfig,
  InvalidArgumentError,
  positiveProblems,
  throwIf,
  type WeightSource,
} from '@mezzotint/core';

/** Configuration of {@link UViT}. A plain JSON value. */
export interface UViTConfig {
  /** Pixels of the (latent) image a side. */
  readonly imageSize: number;
  /** Pixels of a patch a side, p. */
  readonly patchSize: number;
  /** Channels of the image, in and out. */
  readonly inChannels: number;
  /** Width of the tokens, D. */
  readonly width: number;
  /** Number of blocks beside the middle one, half of them before it and half after; even. */
  readonly depth: number;
  /** Attention heads of a block. */
  readonly heads: number;
  /** Hidden width of the MLPs as a multiple of D. */
  readonly mlpRatio: number;
  /** Biases of the maps to q, k and v. */
  readonly qkvBias: boolean;
  /** Two linear layers over the sinusoidal time (the published models: none, the embedding itself is the token). */
  readonly timeMlp: boolean;
  /** Classes, the null label not counted; null for a model without labels. */
  readonly classes: number | null;
  /** Whether the label table has a last row that means "no label", for classifier-free guidance. */
  readonly nullLabel: boolean;
  /** Tokens of the text and their width; null for a model without text. */
  readonly context: { readonly tokens: number; readonly width: number } | null;
  /** Long skip connections from the blocks before the middle to those behind it. Figure 1; without: an ablation. */
  readonly longSkips: boolean;
  /** A last 3x3 convolution over the image, after the patches are put together. Section 3.1 (3). */
  readonly finalConv: boolean;
}

/** Deepest network that is built: far above any published model, far below what a hostile file asks for. */
const maxDepth = 1024;

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateUViTConfig(who: string, config: UViTConfig): void {
  const { imageSize, patchSize, inChannels, width, depth, heads, mlpRatio, classes, context } = config;
  const problems = [
    ...countProblems({ imageSize, patchSize, inChannels, width, depth, heads }),
    ...classProblems(config),
    ...(context === null ? [] : countProblems({ 'context.tokens': context?.tokens, 'context.width': context?.width })),
    ...positiveProblems('mlpRatio', mlpRatio),
    ...['qkvBias', 'timeMlp', 'longSkips', 'finalConv'].flatMap((name) =>
      choiceProblems(name, config[name as keyof UViTConfig], [true, false]),
    ),
  ];
  if (depth > maxDepth) problems.push(`depth: expected at most ${maxDepth}, got ${depth}`);
  // What follows divides by these numbers, so it is looked at only once they are numbers.
  throwIf(who, problems);
  if (imageSize % patchSize !== 0) {
    problems.push(`patchSize: expected a divisor of imageSize ${imageSize}, got ${patchSize}`);
  }
  if (width % heads !== 0) problems.push(`heads: ${heads} heads do not divide the width ${width}`);
  if (width < 2) problems.push(`width: expected at least 2 (a sine and a cosine of the time), got ${width}`);
  if (depth % 2 !== 0)
    problems.push(`depth: expected an even number (blocks before and after the middle), got ${depth}`);
  if (mlpWidth(config) < 1) problems.push(`mlpRatio: ${mlpRatio} x ${width} leaves no hidden width`);
  if (classes !== null && context !== null) {
    problems.push('classes and context: a model has labels or text, not both; set one of them to null');
  }
  throwIf(who, problems);
}

/** Hidden width of the MLPs, whole. */
export function mlpWidth({ width, mlpRatio }: UViTConfig): number {
  return Math.trunc(width * mlpRatio);
}

/** Tokens before the patches: the time, and the label or the text. */
export function extraTokens({ classes, context }: UViTConfig): number {
  return 1 + (classes === null ? 0 : 1) + (context === null ? 0 : context.tokens);
}

const original = {
  img_size: 224,
  patch_size: 16,
  in_chans: 3,
  embed_dim: 768,
  depth: 12,
  num_heads: 12,
  mlp_ratio: 4,
  qkv_bias: false,
  mlp_time_embed: false,
  conv: true,
  skip: true,
};
const fixed = { qk_scale: null };
const ignored = (key: string) => key === 'name' || key === 'use_checkpoint';

/**
 * Our configuration from the arguments of the original class `UViT` of `libs/uvit.py` (unconditional or class-conditional;
 * absent keys take that class's defaults). Its `num_classes` counts the rows of the label table; `nullLabel` says that the
 * last of them means "no label", which its configuration does not tell (the published ImageNet models at 256 and 512 pixels:
 * `num_classes` 1001 and true; at 64 pixels: 1000 and false).
 *
 * @throws InvalidArgumentError naming every unknown or unusable key
 */
export function uvitFromOriginal(json: unknown, { nullLabel = false }: { nullLabel?: boolean } = {}): UViTConfig {
  const read = foreignConfig('uvitFromOriginal', json, { defaults: { ...original, num_classes: -1 }, fixed, ignored });
  const rows = read('num_classes') as number;
  const labelled = rows > 0;
  return {
    ...common(read),
    classes: labelled ? rows - Number(nullLabel) : null,
    nullLabel: labelled && nullLabel,
    context: null,
  };
}

/**
 * Our configuration from the arguments of the original class of `libs/uvit_t2i.py`, which takes text.
 *
 * @throws InvalidArgumentError naming every unknown or unusable key
 */
export function uvitTextToImageFromOriginal(json: unknown): UViTConfig {
  const defaults = { ...original, clip_dim: 768, num_clip_token: 77 };
  const read = foreignConfig('uvitTextToImageFromOriginal', json, { defaults, fixed, ignored });
  const context = { tokens: read('num_clip_token') as number, width: read('clip_dim') as number };
  return { ...common(read), classes: null, nullLabel: false, context };
}

function common(read: (key: string) => unknown): Omit<UViTConfig, 'classes' | 'nullLabel' | 'context'> {
  return {
    imageSize: read('img_size') as number,
    patchSize: read('patch_size') as number,
    inChannels: read('in_chans') as number,
    width: read('embed_dim') as number,
    depth: read('depth') as number,
    heads: read('num_heads') as number,
    mlpRatio: read('mlp_ratio') as number,
    qkvBias: read('qkv_bias') as boolean,
    timeMlp: read('mlp_time_embed') as boolean,
    longSkips: read('skip') as boolean,
    finalConv: read('conv') as boolean,
  };
}

/** Heads of the published widths; elsewhere heads of 64 channels. */
const headsOf = new Map([
  [512, 8],
  [768, 12],
  [1024, 16],
  [1152, 16],
]);

/** Tokens of CLIP, which all published models of text have. */
const textTokens = 77;

/**
 * The configuration of a published file, read off names and shapes. Heads are those of the published widths; a table of 1001 labels
 * is taken for 1000 classes and the null label, any other for classes alone; text has 77 tokens.
 *
 * @throws InvalidArgumentError when a tensor that it must see is not there, or the positions are not those of a square
 */
export function uvitFromShapes(tensors: WeightSource['tensors']): UViTConfig {
  const shape = (name: string): readonly number[] => {
    const found = tensors.get(name)?.shape;
    if (found === undefined) throw new InvalidArgumentError('uvitFromShapes', `expected a tensor ${name}`);
    return found;
  };
  const [, tokens = 0, width = 0] = shape('pos_embed');
  const [, inChannels = 0, patchSize = 0] = shape('patch_embed.proj.weight');
  const [hidden = 0] = shape('mid_block.mlp.fc1.weight');
  const rows = tensors.get('label_emb.weight')?.shape[0];
  const textWidth = tensors.get('context_embed.weight')?.shape[1];
  const side = Math.sqrt(tokens - 1 - Number(rows !== undefined) - (textWidth === undefined ? 0 : textTokens));
  if (!Number.isInteger(side) || side < 1) {
    throw new InvalidArgumentError('uvitFromShapes', `expected positions of a square of patches, got ${tokens} tokens`);
  }
  const depth =
    Array.from({ length: maxDepth }, (_, i) => i).find((i) => !tensors.has(`in_blocks.${i}.norm1.weight`)) ?? maxDepth;
  const nullLabel = rows === 1001;
  return {
    imageSize: side * patchSize,
    patchSize,
    inChannels,
    width,
    depth: 2 * depth,
    heads: headsOf.get(width) ?? Math.max(1, Math.trunc(width / 64)),
    mlpRatio: hidden / width,
    qkvBias: tensors.has('mid_block.attn.qkv.bias'),
    timeMlp: tensors.has('time_embed.0.weight'),
    classes: rows === undefined ? null : rows - Number(nullLabel),
    nullLabel,
    context: textWidth === undefined ? null : { tokens: textTokens, width: textWidth },
    longSkips: tensors.has('out_blocks.0.skip_linear.weight'),
    finalConv: tensors.has('final_layer.weight'),
  };
}
