import { choiceProblems, countProblems, foreignConfig, isCount, positiveProblems, throwIf } from '@mezzotint/core';

/**
 * How tokens get their positions: a `learned` table, fixed sines and cosines (`sin-cos`), or these plus a learned table that
 * starts at zero (`sin-cos-plus-learned`).
 */
export type PositionKind = 'learned' | 'sin-cos' | 'sin-cos-plus-learned';

/** Configuration of {@link RIN}. A plain JSON value. */
export interface RINConfig {
  /** Pixels of the image from top to bottom. */
  readonly imageHeight: number;
  /** Pixels of the image from left to right. */
  readonly imageWidth: number;
  /** Channels of the image, in and out. */
  readonly inChannels: number;
  /** Pixels of a patch a side, P; each patch is a token of the interface. */
  readonly patchSize: number;
  /** One entry a block: how many self-attention layers its latents pass between read and write. 0: it only reads. */
  readonly blocks: readonly number[];
  /** Number of latents, m, those of time and label included. */
  readonly latents: number;
  /** Width of the latents, d_l. */
  readonly latentWidth: number;
  /** Hidden width of the latents' MLPs as a multiple of d_l. */
  readonly latentMlpRatio: number;
  /** Heads of the latents' self-attention. */
  readonly latentHeads: number;
  /** Width of the interface's tokens, d_t. */
  readonly tokenWidth: number;
  /** Hidden width of the tokens' MLPs as a multiple of d_t. */
  readonly tokenMlpRatio: number;
  /** Heads of the attentions that read and write; their width is min(d_l, d_t). */
  readonly readWriteHeads: number;
  readonly latentPositions: PositionKind;
  readonly tokenPositions: PositionKind;
  /** Factor of the signal level gamma before its sinusoidal embedding; also the range of the fixed positions. */
  readonly timeScale: number;
  /** Where the time's token is: the last but one of the latents, or read (not written) beside the image's tokens. */
  readonly timeOn: 'latents' | 'tokens';
  /** Where the label's token is. Without classes it is nowhere. */
  readonly labelOn: 'latents' | 'tokens';
  /** Time and label beside the tokens are written too, as if they were image tokens. */
  readonly writableConditions: boolean;
  /** Layer norm over what is read before keys and values are made of it. */
  readonly normalizedKeys: boolean;
  /** Classes; null for an unconditional model. The label after the last class means "no label". */
  readonly classes: number | null;
  /** What the network is given of its last pass: nothing, its latents, its tokens, or both. Section 3.3. */
  readonly selfConditioning: 'none' | 'latents' | 'tokens' | 'latents-and-tokens';
  /** Rate of training examples that are given what a first pass over them left; the others are given zeros. */
  readonly selfConditioningRate: number;
  /** Dropout rate inside the MLPs of the latents' self-attention layers; applied only with an `rng`. */
  readonly dropout: number;
  /** Rate at which a residual branch of those layers is left out for an image (stochastic depth); only with an `rng`. */
  readonly dropPath: number;
}

const positionKinds = ['learned', 'sin-cos', 'sin-cos-plus-learned'] as const;
/** Blocks and layers in all: far above any published model, far below what a hostile file asks for. */
const maxDepth = 1024;

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateRINConfig(who: string, config: RINConfig): void {
  const { imageHeight, imageWidth, inChannels, patchSize, blocks, latents, latentWidth, tokenWidth, classes } = config;
  const { latentHeads, readWriteHeads } = config;
  const problems = [
    ...countProblems({ imageHeight, imageWidth, inChannels, patchSize, latents, latentWidth, latentHeads }),
    ...countProblems({ tokenWidth, readWriteHeads, ...(classes === null ? {} : { classes }) }),
    ...positiveProblems('latentMlpRatio', config.latentMlpRatio),
    ...positiveProblems('tokenMlpRatio', config.tokenMlpRatio),
    ...positiveProblems('timeScale', config.timeScale),
    ...choiceProblems('latentPositions', config.latentPositions, positionKinds),
    ...choiceProblems('tokenPositions', config.tokenPositions, positionKinds),
    ...choiceProblems('timeOn', config.timeOn, ['latents', 'tokens']),
    ...choiceProblems('labelOn', config.labelOn, ['latents', 'tokens']),
    ...choiceProblems('writableConditions', config.writableConditions, [true, false]),
    ...choiceProblems('normalizedKeys', config.normalizedKeys, [true, false]),
    ...choiceProblems('selfConditioning', config.selfConditioning, ['none', 'latents', 'tokens', 'latents-and-tokens']),
    ...rateProblems('selfConditioningRate', config.selfConditioningRate, 1),
    ...rateProblems('dropout', config.dropout),
    ...rateProblems('dropPath', config.dropPath),
  ];
  const listed = Array.isArray(blocks) && blocks.length > 0 && blocks.every((k) => k === 0 || isCount(k));
  if (!listed) {
    problems.push(
      `blocks: expected a list of numbers of layers, for example [4, 4, 4, 4], got ${JSON.stringify(blocks)}`,
    );
  } else if (blocks.length + blocks.reduce((a, b) => a + b) > maxDepth) {
    problems.push(`blocks: expected at most ${maxDepth} blocks and layers, got ${JSON.stringify(blocks.slice(0, 8))}`);
  }
  // What follows divides by these numbers, so it is looked at only once they are numbers.
  throwIf(who, problems);
  for (const [name, pixels] of Object.entries({ imageHeight, imageWidth })) {
    if (pixels % patchSize !== 0) problems.push(`patchSize: expected a divisor of ${name} ${pixels}, got ${patchSize}`);
  }
  const readWidth = Math.min(latentWidth, tokenWidth);
  if (latentWidth % latentHeads !== 0) {
    problems.push(`latentHeads: ${latentHeads} heads do not divide the width ${latentWidth}`);
  }
  if (readWidth % readWriteHeads !== 0) {
    problems.push(`readWriteHeads: ${readWriteHeads} heads do not divide the smaller width ${readWidth}`);
  }
  for (const [name, width] of Object.entries({ latentWidth, tokenWidth })) {
    if (width % 8 !== 0)
      problems.push(`${name}: expected a multiple of 8 (sines and cosines of a quarter), got ${width}`);
  }
  if (learnedLatents(config) < 1) {
    problems.push(`latents: expected at least one beside those of time and label, got ${latents}`);
  }
  throwIf(who, problems);
}

/** Latents that are not the token of the time or of the label. */
export function learnedLatents({ latents, timeOn, labelOn, classes }: RINConfig): number {
  return latents - Number(timeOn === 'latents') - Number(classes !== null && labelOn === 'latents');
}

/** Rows and columns of patches. */
export function tokenGrid({ imageHeight, imageWidth, patchSize }: RINConfig): readonly [number, number] {
  return [imageHeight / patchSize, imageWidth / patchSize];
}

function rateProblems(name: string, rate: number, most?: 1): string[] {
  if (rate >= 0 && (rate < 1 || rate === most)) return [];
  return [`${name}: expected a rate in [0, 1${most ? ']' : ')'}, got ${JSON.stringify(rate)}`];
}

/** Names of the original for our settings. */
const positions = new Map<unknown, PositionKind>([
  ['learned', 'learned'],
  ['sin_cos', 'sin-cos'],
  ['sin_cos_plus_learned', 'sin-cos-plus-learned'],
]);
const selfConditionings = new Map<unknown, RINConfig['selfConditioning']>([
  ['none', 'none'],
  ['latent', 'latents'],
  ['tape', 'tokens'],
  ['latent+tape', 'latents-and-tokens'],
]);

/**
 * Our configuration from the arguments of the original class `ImageTapeDenoiser` (pix2seq), with `num_classes` beside them (0
 * for an unconditional model) and `self_cond_rate` (0.9 when absent). Absent keys take the class's defaults.
 *
 * @throws InvalidArgumentError naming every unknown, missing or unusable key
 */
export function rinFromOriginal(json: unknown): RINConfig {
  const read = foreignConfig('rinFromOriginal', json, {
    defaults: {
      image_height: undefined,
      image_width: undefined,
      image_channels: undefined,
      patch_size: undefined,
      num_layers: undefined,
      latent_slots: undefined,
      latent_dim: undefined,
      latent_mlp_ratio: undefined,
      latent_num_heads: undefined,
      tape_dim: undefined,
      tape_mlp_ratio: undefined,
      rw_num_heads: undefined,
      latent_pos_encoding: 'learned',
      tape_pos_encoding: 'learned',
      drop_path: 0,
      drop_units: 0.1,
      time_scaling: 1e4,
      self_cond: 'none',
      self_cond_rate: 0.9,
      time_on_latent: false,
      cond_on_latent_n: 0,
      cond_tape_writable: false,
      xattn_enc_ln: false,
      num_classes: 0,
    },
    fixed: {
      conv_kernel_size: 0,
      conv_drop_units: 0,
      cond_dim: 0,
      cond_proj: true,
      cond_decoupled_read: false,
      drop_att: 0,
    },
    ignored: (key) => key === 'name',
  });
  const rows = read('num_classes') as number;
  throwIf('rinFromOriginal', [
    ...choiceProblems('cond_on_latent_n', read('cond_on_latent_n'), rows === 0 ? [0] : [0, 1]),
  ]);
  const layers = String(read('num_layers')).split(',').map(Number);
  const chosen = <T>(key: string, names: ReadonlyMap<unknown, T>) => names.get(read(key)) ?? (read(key) as T);
  return {
    imageHeight: read('image_height') as number,
    imageWidth: read('image_width') as number,
    inChannels: read('image_channels') as number,
    patchSize: read('patch_size') as number,
    blocks: layers,
    latents: read('latent_slots') as number,
    latentWidth: read('latent_dim') as number,
    latentMlpRatio: read('latent_mlp_ratio') as number,
    latentHeads: read('latent_num_heads') as number,
    tokenWidth: read('tape_dim') as number,
    tokenMlpRatio: read('tape_mlp_ratio') as number,
    readWriteHeads: read('rw_num_heads') as number,
    latentPositions: chosen('latent_pos_encoding', positions),
    tokenPositions: chosen('tape_pos_encoding', positions),
    timeScale: read('time_scaling') as number,
    timeOn: read('time_on_latent') ? 'latents' : 'tokens',
    labelOn: (read('cond_on_latent_n') as number) > 0 ? 'latents' : 'tokens',
    writableConditions: read('cond_tape_writable') as boolean,
    normalizedKeys: read('xattn_enc_ln') as boolean,
    classes: rows === 0 ? null : rows,
    selfConditioning: chosen('self_cond', selfConditionings),
    selfConditioningRate: read('self_cond_rate') as number,
    dropout: read('drop_units') as number,
    dropPath: read('drop_path') as number,
  };
}
