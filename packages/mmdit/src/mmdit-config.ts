import {
  choiceProblems,
  countProblems,
  foreignConfig,
  InvalidArgumentError,
  positiveProblems,
  StateShapes,
  throwIf,
  type WeightSource,
} from '@mezzotint/core';

/** Configuration of {@link MMDiT}. A plain JSON value. */
export interface MMDiTConfig {
  /** Latent pixels of a patch a side, p. */
  readonly patchSize: number;
  /** Channels of the latent image. */
  readonly inChannels: number;
  /** Channels of the prediction. */
  readonly outChannels: number;
  /** Number of joint blocks. */
  readonly depth: number;
  /** Width of the tokens of both streams, D; 4 divides it. The paper's is 64 depth. */
  readonly width: number;
  /** Attention heads of a block. The paper has as many as blocks. */
  readonly heads: number;
  /** Hidden width of the MLPs as a multiple of D. */
  readonly mlpRatio: number;
  /** Width of the text tokens (4096: T5-XXL's, and CLIP's padded with zeros). */
  readonly contextWidth: number;
  /** Width of the pooled text (2048: CLIP-L's and CLIP-G's). */
  readonly pooledWidth: number;
  /**
   * How each head's queries and keys are normalised. `none`: not (SD3). `rms`: root mean square with a learned scale
   * (SD3.5; section 5.3.2 of the SD3 paper). `l2`: divided by their lengths, without parameters.
   */
  readonly qkNorm: 'none' | 'rms' | 'l2';
  /** Blocks whose image stream has a second attention, over the image alone (MM-DiT-X: 0 to 12 in SD3.5 medium). */
  readonly dualAttentionLayers: readonly number[];
  /** Positions are kept for a square of so many patches a side; smaller images take its middle. */
  readonly positionGrid: number;
  /** Patches a side of the image that has positions 0, 1, 2, ...; a grid of positions is scaled to it. */
  readonly positionBase: number;
}

/** Deepest network that is built: far above any published model, far below what a hostile file asks for. */
const maxDepth = 1024;

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateMMDiTConfig(who: string, config: MMDiTConfig): void {
  const { patchSize, inChannels, outChannels, depth, width, heads, contextWidth, pooledWidth } = config;
  const { positionGrid, positionBase, dualAttentionLayers } = config;
  const problems = [
    ...countProblems({ patchSize, inChannels, outChannels, depth, width, heads, contextWidth, pooledWidth }),
    ...countProblems({ positionGrid, positionBase }),
    ...positiveProblems('mlpRatio', config.mlpRatio),
    ...choiceProblems('qkNorm', config.qkNorm, ['none', 'rms', 'l2']),
  ];
  if (depth > maxDepth) problems.push(`depth: expected at most ${maxDepth}, got ${depth}`);
  if (width % 4 !== 0) problems.push(`width: expected a multiple of 4 (sines and cosines of two axes), got ${width}`);
  if (width % heads !== 0) problems.push(`heads: ${heads} heads do not divide the width ${width}`);
  if (mmditMlpWidth(config) < 1) problems.push(`mlpRatio: ${config.mlpRatio} x ${width} leaves no hidden width`);
  const layers: readonly unknown[] = Array.isArray(dualAttentionLayers) ? dualAttentionLayers : [undefined];
  if (
    new Set(layers).size < layers.length ||
    !layers.every((n) => Number.isInteger(n) && 0 <= Number(n) && Number(n) < depth)
  ) {
    problems.push(
      `dualAttentionLayers: expected different blocks of 0 to ${depth - 1}, got ${JSON.stringify(dualAttentionLayers)}`,
    );
  }
  throwIf(who, problems);
}

/** Hidden width of the MLPs, whole. */
export function mmditMlpWidth({ width, mlpRatio }: MMDiTConfig): number {
  return Math.trunc(width * mlpRatio);
}

/**
 * Our configuration from the arguments of the original `MMDiT` and `MMDiTX` classes (a JSON object with keys such as
 * `adm_in_channels`). As there, width and heads follow from the depth; `hidden_size` and `num_heads` overrule that.
 *
 * @throws InvalidArgumentError naming every unknown or unusable key
 */
export function mmditFromOriginal(json: unknown): MMDiTConfig {
  const read = foreignConfig('mmditFromOriginal', json, {
    defaults: {
      patch_size: 2,
      in_channels: 4,
      depth: 28,
      mlp_ratio: 4,
      adm_in_channels: undefined,
      context_embedder_config: undefined,
      out_channels: null,
      pos_embed_max_size: undefined,
      qk_norm: null,
      x_block_self_attn_layers: [],
      hidden_size: null,
      num_heads: null,
    },
    objects: ['context_embedder_config'],
    fixed: {
      learn_sigma: false,
      rmsnorm: false,
      scale_mod_only: false,
      swiglu: false,
      qkv_bias: true,
      register_length: 0,
      pos_embed_scaling_factor: null,
      pos_embed_offset: null,
    },
    // The size that positions are made for without a largest one, their number, and how attention is computed.
    ignored: (key) => ['input_size', 'num_patches', 'attn_mode', 'compile_core'].includes(key),
  });
  const depth = read('depth') as number;
  const inChannels = read('in_channels') as number;
  const norm = read('qk_norm');
  const embedder = read('context_embedder_config') as { params?: { in_features?: number } } | null;
  return {
    patchSize: read('patch_size') as number,
    inChannels,
    outChannels: (read('out_channels') as number | null) ?? inChannels,
    depth,
    width: (read('hidden_size') as number | null) ?? 64 * depth,
    heads: (read('num_heads') as number | null) ?? depth,
    mlpRatio: read('mlp_ratio') as number,
    contextWidth: embedder?.params?.in_features ?? Number.NaN,
    pooledWidth: read('adm_in_channels') as number,
    qkNorm: qkNormNamed('mmditFromOriginal', norm, 'rms'),
    dualAttentionLayers: read('x_block_self_attn_layers') as number[],
    positionGrid: read('pos_embed_max_size') as number,
    positionBase: publishedBase,
  };
}

/**
 * Our configuration from the config.json of diffusers' `SD3Transformer2DModel` (absent keys take that class's defaults).
 *
 * @throws InvalidArgumentError naming every unknown or unsupported key
 */
export function mmditFromDiffusers(json: unknown): MMDiTConfig {
  const read = foreignConfig('mmditFromDiffusers', json, {
    defaults: {
      sample_size: 128,
      patch_size: 2,
      in_channels: 16,
      num_layers: 18,
      attention_head_dim: 64,
      num_attention_heads: 18,
      joint_attention_dim: 4096,
      caption_projection_dim: 1152,
      pooled_projection_dim: 2048,
      out_channels: 16,
      pos_embed_max_size: 96,
      dual_attention_layers: [],
      qk_norm: null,
    },
    fixed: {},
    ignored: (key) => key.startsWith('_'),
  });
  const heads = read('num_attention_heads') as number;
  const width = heads * (read('attention_head_dim') as number);
  const projection = read('caption_projection_dim');
  if (projection !== width) {
    throw new InvalidArgumentError(
      'mmditFromDiffusers',
      `caption_projection_dim: expected the width ${width} (heads times their width), got ${JSON.stringify(projection)}`,
    );
  }
  const inChannels = read('in_channels') as number;
  const patchSize = read('patch_size') as number;
  return {
    patchSize,
    inChannels,
    outChannels: (read('out_channels') as number | null) ?? inChannels,
    depth: read('num_layers') as number,
    width,
    heads,
    mlpRatio: 4,
    contextWidth: read('joint_attention_dim') as number,
    pooledWidth: read('pooled_projection_dim') as number,
    qkNorm: qkNormNamed('mmditFromDiffusers', read('qk_norm'), 'rms_norm'),
    dualAttentionLayers: read('dual_attention_layers') as number[],
    positionGrid: read('pos_embed_max_size') as number,
    positionBase: Math.floor((read('sample_size') as number) / patchSize),
  };
}

/**
 * Our configuration read off the names and shapes of an original checkpoint without its prefix. Heads are those of the
 * norms of q and k where there are such; else, as in the original, as many as blocks.
 *
 * @throws InvalidArgumentError naming what is missing
 */
export function mmditFromShapes(tensors: WeightSource['tensors']): MMDiTConfig {
  const shapes = new StateShapes(tensors);
  const depth = shapes.count('joint_blocks');
  const width = shapes.axis('x_embedder.proj.weight', 0);
  const patchSize = shapes.axis('x_embedder.proj.weight', 2);
  const hasNorm = shapes.has('joint_blocks.0.x_block.attn.ln_q');
  const headWidth = hasNorm ? shapes.axis('joint_blocks.0.x_block.attn.ln_q.weight', 0) : width / depth;
  const config: MMDiTConfig = {
    patchSize,
    inChannels: shapes.axis('x_embedder.proj.weight', 1),
    outChannels: shapes.axis('final_layer.linear.weight', 0) / patchSize ** 2,
    depth,
    width,
    heads: width / headWidth,
    mlpRatio: shapes.axis('joint_blocks.0.x_block.mlp.fc1.weight', 0) / width,
    contextWidth: shapes.axis('context_embedder.weight', 1),
    pooledWidth: shapes.axis('y_embedder.mlp.0.weight', 1),
    qkNorm: hasNorm ? 'rms' : 'none',
    dualAttentionLayers: Array.from({ length: depth }, (_, n) => n).filter((n) =>
      shapes.has(`joint_blocks.${n}.x_block.attn2`),
    ),
    // GGUF files drop the first axis, of length 1.
    positionGrid: Math.sqrt(shapes.axis('pos_embed', shapes.rank('pos_embed') - 2)),
    positionBase: publishedBase,
  };
  shapes.check('mmditFromShapes');
  return config;
}

/** Patches a side of 1024x1024 images, whose positions the published models count in ones. */
const publishedBase = 64;

function qkNormNamed(who: string, name: unknown, rms: string): 'none' | 'rms' {
  if (name === null) return 'none';
  if (name === rms) return 'rms';
  throw new InvalidArgumentError(who, `qk_norm: expected null or ${JSON.stringify(rms)}, got ${JSON.stringify(name)}`);
}
