import {
  choiceProblems,
  classProblems,
  countProblems,
  foreignConfig,
  positiveProblems,
  throwIf,
} from '@mezzotint/core';

/** Configuration of {@link DiT}. A plain JSON value. */
export interface DiTConfig {
  /** Pixels of the (latent) image a side. */
  readonly imageSize: number;
  /** Pixels of a patch a side, p. */
  readonly patchSize: number;
  /** Channels of the image. */
  readonly inChannels: number;
  /** Channels out; twice the image's when the variance is learned (the second half is the variance share). */
  readonly outChannels: number;
  /** Width of the tokens, D; 4 divides it. */
  readonly width: number;
  /** Number of blocks. */
  readonly depth: number;
  /** Attention heads of a block. */
  readonly heads: number;
  /** Hidden width of the MLPs as a multiple of D. */
  readonly mlpRatio: number;
  /** Classes, the null label not counted; null for an unconditional model. */
  readonly classes: number | null;
  /** A row behind those of the classes, the label `classes`, that means "no label" (classifier-free guidance). */
  readonly nullLabel: boolean;
  /** Biases of the maps to q, k and v. */
  readonly qkvBias: boolean;
  /** Epsilon of the norms but for those before the MLPs. */
  readonly epsilon: number;
  /** Epsilon of the norms before the MLPs (diffusers: 1e-5). */
  readonly mlpEpsilon: number;
  /** 0: frequency i of the time embedding is 10000^(-i / 128) (the original); 1: 10000^(-i / 127) (diffusers). */
  readonly frequencyShift: 0 | 1;
  /**
   * `shared`: one embedding of time and label for all blocks. `per-block`: one for each, the final layer taking the first
   * block's; what diffusers' class trains.
   */
  readonly embedders: 'shared' | 'per-block';
  /** Images of another size: `refused`, or with positions stretched onto the grid of `imageSize` (diffusers). */
  readonly otherSizes: 'refused' | 'stretched';
}

/** Deepest network that is built: far above any published model, far below what a hostile file asks for. */
const maxDepth = 1024;

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateDiTConfig(who: string, config: DiTConfig): void {
  const { imageSize, patchSize, inChannels, outChannels, width, depth, heads, mlpRatio } = config;
  const problems = [
    ...countProblems({ imageSize, patchSize, inChannels, outChannels, width, depth, heads }),
    ...classProblems(config),
    ...positiveProblems('mlpRatio', mlpRatio),
    ...positiveProblems('epsilon', config.epsilon),
    ...positiveProblems('mlpEpsilon', config.mlpEpsilon),
    ...choiceProblems('qkvBias', config.qkvBias, [true, false]),
    ...choiceProblems('frequencyShift', config.frequencyShift, [0, 1]),
    ...choiceProblems('embedders', config.embedders, ['shared', 'per-block']),
    ...choiceProblems('otherSizes', config.otherSizes, ['refused', 'stretched']),
  ];
  if (depth > maxDepth) problems.push(`depth: expected at most ${maxDepth}, got ${depth}`);
  // What follows divides by these numbers, so it is looked at only once they are numbers.
  throwIf(who, problems);
  if (imageSize % patchSize !== 0) {
    problems.push(`patchSize: expected a divisor of imageSize ${imageSize}, got ${patchSize}`);
  }
  if (width % heads !== 0) problems.push(`heads: ${heads} heads do not divide the width ${width}`);
  if (width % 4 !== 0) problems.push(`width: expected a multiple of 4 (sines and cosines of two axes), got ${width}`);
  if (mlpWidth(config) < 1) problems.push(`mlpRatio: ${mlpRatio} x ${width} leaves no hidden width`);
  throwIf(who, problems);
}

/** Hidden width of the MLPs, whole. */
export function mlpWidth({ width, mlpRatio }: DiTConfig): number {
  return Math.trunc(width * mlpRatio);
}

/**
 * Our configuration from the arguments of the original `DiT` class (a JSON object with keys such as `hidden_size`; absent
 * keys take that class's defaults).
 *
 * @throws InvalidArgumentError naming every unknown or unusable key
 */
export function ditFromOriginal(json: unknown): DiTConfig {
  const read = foreignConfig('ditFromOriginal', json, {
    defaults: {
      input_size: 32,
      patch_size: 2,
      in_channels: 4,
      hidden_size: 1152,
      depth: 28,
      num_heads: 16,
      mlp_ratio: 4,
      class_dropout_prob: 0.1,
      num_classes: 1000,
      learn_sigma: true,
    },
    fixed: {},
    ignored: () => false,
  });
  const inChannels = read('in_channels') as number;
  return {
    imageSize: read('input_size') as number,
    patchSize: read('patch_size') as number,
    inChannels,
    outChannels: read('learn_sigma') ? 2 * inChannels : inChannels,
    width: read('hidden_size') as number,
    depth: read('depth') as number,
    heads: read('num_heads') as number,
    mlpRatio: read('mlp_ratio') as number,
    classes: read('num_classes') as number,
    // How often labels are dropped is training's setting; that some are gives the table its last row.
    nullLabel: (read('class_dropout_prob') as number) > 0,
    qkvBias: true,
    epsilon: 1e-6,
    mlpEpsilon: 1e-6,
    frequencyShift: 0,
    embedders: 'shared',
    otherSizes: 'refused',
  };
}

/**
 * Our configuration from the config.json of diffusers' `DiTTransformer2DModel` (absent keys take that class's defaults). It
 * differs from the original in the frequencies of the time, in the epsilon before the MLPs, and in taking other sizes; see
 * `embedders` for checkpoints that were trained with it.
 *
 * @throws InvalidArgumentError naming every unknown or unsupported key
 */
export function ditFromDiffusers(json: unknown): DiTConfig {
  const read = foreignConfig('ditFromDiffusers', json, {
    defaults: {
      num_attention_heads: 16,
      attention_head_dim: 72,
      in_channels: 4,
      out_channels: null,
      num_layers: 28,
      attention_bias: true,
      sample_size: 32,
      patch_size: 2,
      num_embeds_ada_norm: 1000,
      norm_eps: 1e-5,
    },
    fixed: {
      dropout: 0,
      activation_fn: 'gelu-approximate',
      norm_type: 'ada_norm_zero',
      norm_elementwise_affine: false,
    },
    // The class has no GroupNorm, and precision is the engine's; names with an underscore are diffusers' own notes.
    ignored: (key) => key === 'norm_num_groups' || key === 'upcast_attention' || key.startsWith('_'),
  });
  const heads = read('num_attention_heads') as number;
  const inChannels = read('in_channels') as number;
  return {
    imageSize: read('sample_size') as number,
    patchSize: read('patch_size') as number,
    inChannels,
    outChannels: (read('out_channels') as number | null) ?? inChannels,
    width: heads * (read('attention_head_dim') as number),
    depth: read('num_layers') as number,
    heads,
    mlpRatio: 4,
    classes: read('num_embeds_ada_norm') as number,
    nullLabel: true,
    qkvBias: read('attention_bias') as boolean,
    epsilon: 1e-6,
    mlpEpsilon: read('norm_eps') as number,
    frequencyShift: 1,
    embedders: 'shared',
    otherSizes: 'stretched',
  };
}
