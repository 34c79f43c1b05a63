import {
  choiceProblems,
  countProblems,
  foreignConfig,
  positiveProblems,
  StateShapes,
  throwIf,
  type WeightSource,
} from '@mezzotint/core';

/** Configuration of {@link Flux}. A plain JSON value. */
export interface FluxConfig {
  /** Latent pixels of a patch a side, p. */
  readonly patchSize: number;
  /** Channels of the latent image; a packed token has p p times as many. */
  readonly channels: number;
  /** Blocks with separate weights for text and image. */
  readonly depth: number;
  /** Blocks with the same weights for both, behind those. */
  readonly singleDepth: number;
  /** Width of the tokens, D. */
  readonly width: number;
  /** Attention heads of a block. */
  readonly heads: number;
  /** Hidden width of the MLPs as a multiple of D. */
  readonly mlpRatio: number;
  /** Width of the text tokens (4096: T5-XXL's). */
  readonly contextWidth: number;
  /** Width of the pooled text (768: CLIP-L's). */
  readonly pooledWidth: number;
  /** Biases of the maps to q, k and v. */
  readonly qkvBias: boolean;
  /** Whether the guidance scale is an input (dev), not something that the network knows nothing of (schnell). */
  readonly guidanceEmbed: boolean;
  /** Channels of a head that turn with an index (always 0), the row and the column; together the width of a head. */
  readonly rotaryAxes: readonly number[];
  /** Base of the rotary frequencies. */
  readonly rotaryTheta: number;
}

/** Most blocks that are built: far above any published model, far below what a hostile file asks for. */
const maxDepth = 1024;

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateFluxConfig(who: string, config: FluxConfig): void {
  const { patchSize, channels, depth, singleDepth, width, heads, contextWidth, pooledWidth, rotaryAxes } = config;
  const problems = [
    ...countProblems({ patchSize, channels, depth, singleDepth, width, heads, contextWidth, pooledWidth }),
    ...positiveProblems('mlpRatio', config.mlpRatio),
    ...positiveProblems('rotaryTheta', config.rotaryTheta),
    ...choiceProblems('qkvBias', config.qkvBias, [true, false]),
    ...choiceProblems('guidanceEmbed', config.guidanceEmbed, [true, false]),
  ];
  if (depth + singleDepth > maxDepth)
    problems.push(`depth: expected at most ${maxDepth} blocks, got ${depth + singleDepth}`);
  if (width % heads !== 0) problems.push(`heads: ${heads} heads do not divide the width ${width}`);
  if (fluxMlpWidth(config) < 1) problems.push(`mlpRatio: ${config.mlpRatio} x ${width} leaves no hidden width`);
  const axes: readonly unknown[] = Array.isArray(rotaryAxes) ? rotaryAxes : [];
  const even =
    axes.length === 3 && axes.every((axis) => Number.isInteger(axis) && Number(axis) > 0 && Number(axis) % 2 === 0);
  if (!even || axes.reduce<number>((sum, axis) => sum + Number(axis), 0) !== width / heads) {
    problems.push(
      `rotaryAxes: expected 3 even numbers that add up to ${width / heads}, the width of a head, got ${JSON.stringify(rotaryAxes)}`,
    );
  }
  throwIf(who, problems);
}

/** Hidden width of the MLPs, whole. */
export function fluxMlpWidth({ width, mlpRatio }: FluxConfig): number {
  return Math.trunc(width * mlpRatio);
}

/** Numbers of a packed token, which is a patch of the latent image. */
export function fluxTokenWidth({ patchSize, channels }: FluxConfig): number {
  return patchSize * patchSize * channels;
}

/** Latent pixels of a patch a side, in every published model; their configurations count the channels of a packed token. */
const publishedPatch = 2;

/**
 * Our configuration from the parameters of the original `Flux` class (a JSON object with keys such as `vec_in_dim`).
 *
 * @throws InvalidArgumentError naming every unknown or unusable key; of the variants whose input or output is wider (Fill,
 *   Canny, Depth, Redux) too
 */
export function fluxFromOriginal(json: unknown): FluxConfig {
  const read = foreignConfig('fluxFromOriginal', json, {
    defaults: {
      in_channels: undefined,
      out_channels: null,
      vec_in_dim: undefined,
      context_in_dim: undefined,
      hidden_size: undefined,
      mlp_ratio: undefined,
      num_heads: undefined,
      depth: undefined,
      depth_single_blocks: undefined,
      axes_dim: undefined,
      theta: undefined,
      qkv_bias: undefined,
      guidance_embed: undefined,
    },
    fixed: {},
    ignored: () => false,
  });
  return {
    ...packed('fluxFromOriginal', read('in_channels'), read('out_channels')),
    depth: read('depth') as number,
    singleDepth: read('depth_single_blocks') as number,
    width: read('hidden_size') as number,
    heads: read('num_heads') as number,
    mlpRatio: read('mlp_ratio') as number,
    contextWidth: read('context_in_dim') as number,
    pooledWidth: read('vec_in_dim') as number,
    qkvBias: read('qkv_bias') as boolean,
    guidanceEmbed: read('guidance_embed') as boolean,
    rotaryAxes: read('axes_dim') as number[],
    rotaryTheta: read('theta') as number,
  };
}

/**
 * Our configuration from the config.json of diffusers' `FluxTransformer2DModel` (absent keys take that class's defaults).
 *
 * @throws InvalidArgumentError as {@link fluxFromOriginal}
 */
export function fluxFromDiffusers(json: unknown): FluxConfig {
  const read = foreignConfig('fluxFromDiffusers', json, {
    defaults: {
      in_channels: 64,
      out_channels: null,
      num_layers: 19,
      num_single_layers: 38,
      attention_head_dim: 128,
      num_attention_heads: 24,
      joint_attention_dim: 4096,
      pooled_projection_dim: 768,
      guidance_embeds: false,
      axes_dims_rope: [16, 56, 56],
    },
    fixed: { patch_size: 1 },
    ignored: (key) => key.startsWith('_'),
  });
  const heads = read('num_attention_heads') as number;
  return {
    ...packed('fluxFromDiffusers', read('in_channels'), read('out_channels')),
    depth: read('num_layers') as number,
    singleDepth: read('num_single_layers') as number,
    width: heads * (read('attention_head_dim') as number),
    heads,
    mlpRatio: 4,
    contextWidth: read('joint_attention_dim') as number,
    pooledWidth: read('pooled_projection_dim') as number,
    qkvBias: true,
    guidanceEmbed: read('guidance_embeds') as boolean,
    rotaryAxes: read('axes_dims_rope') as number[],
    rotaryTheta: 10_000,
  };
}

/**
 * Our configuration read off the names and shapes of an original checkpoint without its prefix. The shares of the rotary
 * axes are not in a file: they are in the proportion 2 : 7 : 7 of the published models, in even numbers.
 *
 * @throws InvalidArgumentError naming what is missing, and the variants that are not built
 */
export function fluxFromShapes(tensors: WeightSource['tensors']): FluxConfig {
  const shapes = new StateShapes(tensors);
  throwIf('fluxFromShapes', variantProblems(shapes));
  const width = shapes.axis('img_in.weight', 0);
  const headWidth = shapes.axis('double_blocks.0.img_attn.norm.query_norm.scale', 0);
  const [inChannels, outChannels] = [shapes.axis('img_in.weight', 1), shapes.axis('final_layer.linear.weight', 0)];
  const config: Omit<FluxConfig, 'patchSize' | 'channels'> = {
    depth: shapes.count('double_blocks'),
    singleDepth: shapes.count('single_blocks'),
    width,
    heads: width / headWidth,
    mlpRatio: shapes.axis('double_blocks.0.img_mlp.0.weight', 0) / width,
    contextWidth: shapes.axis('txt_in.weight', 1),
    pooledWidth: shapes.axis('vector_in.in_layer.weight', 1),
    qkvBias: shapes.has('double_blocks.0.img_attn.qkv.bias'),
    guidanceEmbed: shapes.has('guidance_in'),
    rotaryAxes: publishedAxes(headWidth),
    rotaryTheta: 10_000,
  };
  shapes.check('fluxFromShapes');
  return { ...packed('fluxFromShapes', inChannels, outChannels), ...config };
}

/** 16, 56 and 56 of 128 channels. */
function publishedAxes(headWidth: number): number[] {
  const [index, row] = [2 * Math.round(headWidth / 16), 2 * Math.round((7 * headWidth) / 32)];
  return [index, row, headWidth - index - row];
}

/** Models that are made of FLUX's blocks and are not FLUX.1 dev or schnell, by tensors that only they have. */
function variantProblems(shapes: StateShapes): string[] {
  const variants: readonly (readonly [string, string])[] = [
    ['distilled_guidance_layer', 'Chroma'],
    ['double_stream_modulation_img', 'FLUX.2'],
    ['nerf_blocks', 'Chroma Radiance'],
    ['redux_down', 'FLUX.1 Redux'],
    ['vector_in.in_layer.2', 'a FLUX variant'],
  ];
  return variants
    .filter(([beginning]) => shapes.has(beginning))
    .map(
      ([beginning, name]) =>
        `${beginning}: this is ${name}, which is another network than FLUX.1 dev and schnell and is not built`,
    );
}

function packed(who: string, inChannels: unknown, outChannels: unknown): Pick<FluxConfig, 'patchSize' | 'channels'> {
  const channels = Number(inChannels) / publishedPatch ** 2;
  if (outChannels !== null && outChannels !== inChannels) {
    throwIf(who, [
      `in_channels: ${inChannels} in and ${outChannels} out: this is a variant that is given a picture beside the noise ` +
        '(FLUX.1 Fill, Canny or Depth), which is not built',
    ]);
  }
  if (!Number.isInteger(channels)) {
    throwIf(who, [
      `in_channels: expected a multiple of 4, a patch of 2 x 2 latent pixels, got ${JSON.stringify(inChannels)}`,
    ]);
  }
  return { patchSize: publishedPatch, channels };
}
