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

/** Configuration of {@link ZigMa}. A plain JSON value. */
export interface ZigMaConfig {
  /** Pixels of the (latent) image a side. */
  readonly imageSize: number;
  /** Pixels of a patch a side, P. */
  readonly patchSize: number;
  /** Channels of the image, in and out. */
  readonly inChannels: number;
  /** Width of the tokens, D; with sine-cosine positions 4 divides it. */
  readonly width: number;
  /** Number of blocks. */
  readonly depth: number;
  /** The mixer of the blocks: `mamba` (Mamba 1, the published one) or `mamba-2`, whose decay is one number a head. */
  readonly mixer: 'mamba' | 'mamba-2';
  /** Width of the mixer as a multiple of D. */
  readonly expansion: number;
  /** Numbers in the state of a channel, S. */
  readonly states: number;
  /** Tokens that the mixer's convolution sees. */
  readonly taps: number;
  /** Channels of a head of `mamba-2`; null for `mamba`. */
  readonly headWidth: number | null;
  /**
   * How the tokens are scanned: `bidirectional` (forwards and, with weights of its own, backwards; the original's `v2`), or along
   * one of `paths` zigzags or Hilbert curves, another one in each block.
   */
  readonly scan: 'bidirectional' | 'zigzag' | 'hilbert';
  /** How many of the eight paths the blocks take in turn; null for `bidirectional`. */
  readonly paths: number | null;
  /** Added to the tokens: nothing, fixed sines and cosines (DiT's), or a learned table. */
  readonly positions: 'none' | 'sin-cos' | 'learned';
  /** Classes, the null label not counted; null for a model without labels. */
  readonly classes: number | null;
  /** Whether the label table has a last row that means "no label" (the published models: no). */
  readonly nullLabel: boolean;
  /** Tokens of the text and their width; null for a model without text. */
  readonly context: { readonly tokens: number; readonly width: number } | null;
  /** Epsilon of the root-mean-square norms. */
  readonly epsilon: number;
  /** Largest rate of stochastic depth, reached in the last block; only with an `rng`. */
  readonly dropPath: number;
}

/** Deepest network that is built: far above any published model, far below what a hostile file asks for. */
const maxDepth = 1024;

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateZigMaConfig(who: string, config: ZigMaConfig): void {
  const { imageSize, patchSize, inChannels, width, depth, states, taps, expansion, classes, context } = config;
  const { mixer, headWidth, scan, paths, dropPath } = config;
  const problems = [
    ...countProblems({ imageSize, patchSize, inChannels, width, depth, expansion, states, taps }),
    ...classProblems(config),
    ...(context === null ? [] : countProblems({ 'context.tokens': context?.tokens, 'context.width': context?.width })),
    ...choiceProblems('mixer', mixer, ['mamba', 'mamba-2']),
    ...(mixer === 'mamba' ? choiceProblems('headWidth', headWidth, [null]) : countProblems({ headWidth })),
    ...choiceProblems('scan', scan, ['bidirectional', 'zigzag', 'hilbert']),
    ...choiceProblems('paths', paths, scan === 'bidirectional' ? [null] : [1, 2, 3, 4, 5, 6, 7, 8]),
    ...choiceProblems('positions', config.positions, ['none', 'sin-cos', 'learned']),
    ...positiveProblems('epsilon', config.epsilon),
  ];
  if (!(dropPath >= 0 && dropPath < 1)) {
    problems.push(`dropPath: expected a rate in [0, 1), got ${JSON.stringify(dropPath)}`);
  }
  if (depth > maxDepth) problems.push(`depth: expected at most ${maxDepth}, got ${depth}`);
  // What follows divides by these numbers, so it is looked at only once they are numbers.
  throwIf(who, problems);
  if (imageSize % patchSize !== 0) {
    problems.push(`patchSize: expected a divisor of imageSize ${imageSize}, got ${patchSize}`);
  }
  if (config.positions === 'sin-cos' && width % 4 !== 0) {
    problems.push(`width: expected a multiple of 4 (sines and cosines of two axes), got ${width}`);
  }
  if (headWidth !== null && (expansion * width) % headWidth !== 0) {
    problems.push(`headWidth: heads of ${headWidth} channels do not divide the mixer's ${expansion * width}`);
  }
  if (classes !== null && context !== null) {
    problems.push('classes and context: a model has labels or text, not both; set one of them to null');
  }
  throwIf(who, problems);
}

/** Tokens a side. */
export function gridSide({ imageSize, patchSize }: ZigMaConfig): number {
  return imageSize / patchSize;
}

/** Original settings for ours. */
const positions = new Map<unknown, ZigMaConfig['positions']>([
  [0, 'none'],
  [1, 'sin-cos'],
  [2, 'learned'],
]);

/**
 * Our configuration from the arguments of the original class `ZigMa` (absent keys take that class's defaults; `num_classes` counts
 * rows of its label table, none of which means "no label"). Video, random paths and other norms are refused by name.
 *
 * @throws InvalidArgumentError naming every unknown, missing or unusable key
 */
export function zigmaFromOriginal(json: unknown): ZigMaConfig {
  const read = foreignConfig('zigmaFromOriginal', json, {
    defaults: {
      in_channels: undefined,
      embed_dim: undefined,
      depth: undefined,
      img_dim: undefined,
      patch_size: 1,
      has_text: false,
      num_classes: -1,
      drop_path_rate: 0.1,
      n_context_token: 0,
      d_context: 0,
      norm_epsilon: 1e-5,
      scan_type: 'v2',
      use_pe: 0,
    },
    fixed: { ssm_cfg: null, rms_norm: true, residual_in_fp32: true, video_frames: 0, tpe: false },
    // How the same is computed, and the initial values.
    ignored: (key) =>
      ['fused_add_norm', 'initializer_cfg', 'device', 'use_jit', 'm_init', 'use_checkpoint', 'dtype'].includes(key),
  });
  const [, kind, count] = /^(zigzag|hilbert)N([1-8])$/.exec(String(read('scan_type'))) ?? [];
  throwIf('zigmaFromOriginal', [
    ...(kind === undefined
      ? choiceProblems('scan_type', read('scan_type'), ['v2', 'zigzagN1 to 8', 'hilbertN1 to 8']).filter(
          () => read('scan_type') !== 'v2',
        )
      : []),
    ...choiceProblems('use_pe', read('use_pe'), [0, 1, 2]),
  ]);
  const rows = read('num_classes') as number;
  const text = read('has_text') as boolean;
  return {
    imageSize: read('img_dim') as number,
    patchSize: read('patch_size') as number,
    inChannels: read('in_channels') as number,
    width: read('embed_dim') as number,
    depth: read('depth') as number,
    mixer: 'mamba',
    expansion: 2,
    states: 16,
    taps: 4,
    headWidth: null,
    scan: (kind as 'zigzag' | 'hilbert' | undefined) ?? 'bidirectional',
    paths: count === undefined ? null : Number(count),
    positions: positions.get(read('use_pe'))!,
    classes: !text && rows > 0 ? rows : null,
    nullLabel: false,
    context: text ? { tokens: read('n_context_token') as number, width: read('d_context') as number } : null,
    epsilon: read('norm_epsilon') as number,
    dropPath: read('drop_path_rate') as number,
  };
}

/** Tokens of CLIP, which the published model of text has. */
const textTokens = 77;

/** Tokens a side of the published models without positions (1024x1024). */
const sideWithoutPositions = 64;

/**
 * The configuration of a published file, read off names and shapes. What they do not say is as published: eight zigzag paths where
 * one direction is scanned, 64x64 tokens where there are no positions, text of 77 tokens.
 *
 * @throws InvalidArgumentError when a tensor that it must see is not there, or the positions are not those of a square
 */
export function zigmaFromShapes(tensors: WeightSource['tensors']): ZigMaConfig {
  const shape = (name: string): readonly number[] => {
    const found = tensors.get(name)?.shape;
    if (found === undefined) throw new InvalidArgumentError('zigmaFromShapes', `expected a tensor ${name}`);
    return found;
  };
  const [width = 0, inChannels = 0, patchSize = 0] = shape('x_embedder.proj.weight');
  const tokens = tensors.get('pos_embed')?.shape[1];
  const side = tokens === undefined ? sideWithoutPositions : Math.sqrt(tokens);
  if (!Number.isInteger(side)) {
    throw new InvalidArgumentError('zigmaFromShapes', `expected positions of a square of tokens, got ${tokens}`);
  }
  const mixer = tensors.has('blocks.0.mixer.dt_bias') ? 'mamba-2' : 'mamba';
  const [inner = 0] = mixer === 'mamba' ? shape('blocks.0.mixer.D') : shape('blocks.0.mixer.norm.weight');
  const [channels = 0, , taps = 0] = shape('blocks.0.mixer.conv1d.weight');
  const states = mixer === 'mamba' ? shape('blocks.0.mixer.A_log')[1]! : (channels - inner) / 2;
  const textWidth = tensors.get('y_embedder.weight')?.shape[1];
  const bidirectional = tensors.has('blocks.0.mixer.A_b_log');
  const depth =
    Array.from({ length: maxDepth }, (_, i) => i).find((i) => !tensors.has(`blocks.${i}.norm.weight`)) ?? maxDepth;
  return {
    imageSize: side * patchSize,
    patchSize,
    inChannels,
    width,
    depth,
    mixer,
    expansion: inner / width,
    states,
    taps,
    headWidth: mixer === 'mamba' ? null : inner / shape('blocks.0.mixer.dt_bias')[0]!,
    scan: bidirectional ? 'bidirectional' : 'zigzag',
    paths: bidirectional ? null : 8,
    positions: tokens === undefined ? 'none' : 'learned',
    classes: tensors.get('y_embedder.embedding_table.weight')?.shape[0] ?? null,
    nullLabel: false,
    context: textWidth === undefined ? null : { tokens: textTokens, width: textWidth },
    epsilon: 1e-5,
    dropPath: 0.1,
  };
}
