import { choiceProblems, countProblems, foreignConfig, positiveProblems, throwIf } from '@mezzotint/core';

/** What EDM's two networks have in common. A plain JSON value. */
export interface EDMUNetConfig {
  /** Pixels a side that the model is made for; the forward pass takes every size that the levels divide. */
  readonly imageSize: number;
  /** Channels of the image. */
  readonly inChannels: number;
  /** Channels out, those of the image. */
  readonly outChannels: number;
  /** Classes, or null for an unconditional model. The label `classes` is "no label". */
  readonly classes: number | null;
  /** Numbers that describe the augmentation of a training image (EDM: 9), or null for a model that takes none. */
  readonly augmentWidth: number | null;
  /** Base width C. */
  readonly modelChannels: number;
  /** Width of each level as a multiple of C, full resolution first; each level below has half the pixels a side. */
  readonly channelMult: readonly number[];
  /** Width of the embedding of noise level, label and augmentation as a multiple of C. */
  readonly embeddingMult: number;
  /** Residual blocks a level in the encoder; the decoder has one more. */
  readonly resBlocks: number;
  /** Levels with attention, by their pixels a side at `imageSize`. */
  readonly attentionSizes: readonly number[];
  /** Dropout rate inside residual blocks; applied only when a forward pass is given an `rng`. */
  readonly dropout: number;
}

/** Configuration of {@link SongUNet}: DDPM++ and NCSN++. */
export interface SongUNetConfig extends EDMUNetConfig {
  readonly type: 'song';
  /** Features of the noise level: sines and cosines of fixed frequencies (DDPM++), or of random ones (NCSN++). */
  readonly noiseEmbedding: 'positional' | 'fourier';
  /** Width of these features as a multiple of C. */
  readonly noiseMult: number;
  /** `residual` (NCSN++) and `skip`: each level also sees the image, downsampled. */
  readonly encoder: 'standard' | 'skip' | 'residual';
  /** `skip`: each level also adds to the output, upsampled. */
  readonly decoder: 'standard' | 'skip';
  /** Taps of the separable filter around resampling: [1, 1] is a 2x2 mean (DDPM++), [1, 3, 3, 1] a wider one (NCSN++). */
  readonly resampleFilter: readonly number[];
}

/** Configuration of {@link DhariwalUNet}: ADM. */
export interface DhariwalUNetConfig extends EDMUNetConfig {
  readonly type: 'dhariwal';
}

/** Configuration of {@link EDM}. */
export interface EDMConfig {
  /** Standard deviation of the data. */
  readonly sigmaData: number;
  readonly unet: SongUNetConfig | DhariwalUNetConfig;
}

/** Far above any published model, far below what a hostile file asks for. */
const maxLevels = 12;
const maxResBlocks = 64;
const maxTaps = 64;

/** Channels of each level. */
export function levelWidths({ modelChannels, channelMult }: Pick<EDMUNetConfig, 'modelChannels' | 'channelMult'>) {
  return channelMult.map((mult) => mult * modelChannels);
}

/** What the image's sides must be a multiple of. */
export function deepestFactor({ channelMult }: Pick<EDMUNetConfig, 'channelMult'>): number {
  return 2 ** (channelMult.length - 1);
}

/** What is wrong with the hierarchy of levels, which EDM's and EDM2's networks share. */
export function levelProblems(
  config: Pick<EDMUNetConfig, 'imageSize' | 'modelChannels' | 'channelMult' | 'resBlocks' | 'attentionSizes'>,
): string[] {
  const { imageSize, modelChannels, channelMult, resBlocks, attentionSizes } = config;
  const problems = countProblems({ imageSize, modelChannels, resBlocks });
  if (!Array.isArray(channelMult) || channelMult.length === 0 || !channelMult.every((mult) => mult > 0)) {
    problems.push(
      `channelMult: expected one positive multiple of modelChannels a level, got ${JSON.stringify(channelMult)}`,
    );
  } else if (channelMult.length > maxLevels) {
    problems.push(`channelMult: expected at most ${maxLevels} levels, got ${channelMult.length}`);
  }
  if (resBlocks > maxResBlocks) problems.push(`resBlocks: expected at most ${maxResBlocks}, got ${resBlocks}`);
  if (!Array.isArray(attentionSizes)) {
    problems.push(`attentionSizes: expected a list of pixels a side, got ${JSON.stringify(attentionSizes)}`);
  }
  // What follows computes with these numbers, so it is looked at only once they are numbers.
  if (problems.length > 0) return problems;
  if (imageSize % deepestFactor(config) !== 0) {
    problems.push(
      `imageSize: expected a multiple of ${deepestFactor(config)} (${channelMult.length} levels), got ${imageSize}`,
    );
  }
  if (modelChannels % 2 !== 0) {
    problems.push(`modelChannels: expected an even number (half cosines, half sines), got ${modelChannels}`);
  }
  levelWidths(config).forEach((width, level) => {
    if (!Number.isInteger(width)) {
      problems.push(`channelMult[${level}]: ${channelMult[level]} x ${modelChannels} channels is not whole (${width})`);
    }
  });
  return problems;
}

/** What is wrong with a rate of dropout. */
export function rateProblems(name: string, rate: unknown): string[] {
  return typeof rate === 'number' && rate >= 0 && rate < 1
    ? []
    : [`${name}: expected a rate in [0, 1), got ${JSON.stringify(rate)}`];
}

/** Throws an InvalidArgumentError with everything that is wrong with a network's configuration. */
export function validateEDMUNetConfig(who: string, config: SongUNetConfig | DhariwalUNetConfig): void {
  const { inChannels, outChannels, classes, augmentWidth, embeddingMult, dropout } = config;
  const problems = [
    ...countProblems({
      inChannels,
      outChannels,
      ...(classes !== null && { classes }),
      ...(augmentWidth !== null && { augmentWidth }),
    }),
    ...positiveProblems('embeddingMult', embeddingMult),
    ...rateProblems('dropout', dropout),
    ...levelProblems(config),
  ];
  if (config.type === 'song') problems.push(...songProblems(config));
  throwIf(who, problems);
  const embedding = embeddingMult * config.modelChannels;
  if (!Number.isInteger(embedding)) problems.push(`embeddingMult: ${embedding} numbers an embedding is not whole`);
  levelWidths(config).forEach((width, level) => {
    const groups = groupsOf(width);
    if (width % groups !== 0) {
      problems.push(`channelMult[${level}]: ${width} channels do not fall into ${groups} equal groups`);
    }
    if (config.type === 'dhariwal' && hasAttention(config, level) && width >= 64 && width % 64 !== 0) {
      problems.push(`channelMult[${level}]: ${width} channels do not fall into heads of 64`);
    }
  });
  throwIf(who, problems);
}

function songProblems({ noiseEmbedding, noiseMult, encoder, decoder, resampleFilter }: SongUNetConfig): string[] {
  const taps = Array.isArray(resampleFilter) ? resampleFilter : [];
  const sum = taps.reduce((a, b) => a + b, 0);
  const usable = taps.length >= 2 && taps.length <= maxTaps && taps.length % 2 === 0 && Number.isFinite(1 / sum);
  return [
    ...choiceProblems('noiseEmbedding', noiseEmbedding, ['positional', 'fourier']),
    ...countProblems({ noiseMult }),
    ...choiceProblems('encoder', encoder, ['standard', 'skip', 'residual']),
    ...choiceProblems('decoder', decoder, ['standard', 'skip']),
    ...(usable
      ? []
      : [
          `resampleFilter: expected an even number of taps, at most ${maxTaps}, whose sum is not 0, got ${JSON.stringify(resampleFilter)}`,
        ]),
  ];
}

/** Groups of a GroupNorm over so many channels: 32, or fewer so that each has at least 4 channels. */
export function groupsOf(channels: number): number {
  return Math.min(32, Math.floor(channels / 4));
}

/** True where the blocks of a level have attention, by the level's pixels a side at the model's own size. */
export function hasAttention(
  { imageSize, attentionSizes }: Pick<EDMUNetConfig, 'imageSize' | 'attentionSizes'>,
  level: number,
): boolean {
  return attentionSizes.includes(imageSize / 2 ** level);
}

/** Arguments of all of EDM's classes: how the reference computes, or what only training reads. */
const ignored = (key: string) =>
  key === 'use_fp16' || key === 'label_dropout' || key === 'sigma_min' || key === 'sigma_max';

const precondKeys = {
  img_resolution: undefined,
  img_channels: undefined,
  label_dim: 0,
  sigma_data: 0.5,
  model_type: 'DhariwalUNet',
  augment_dim: 0,
  channel_mult_emb: 4,
  dropout: 0.1,
} as const;

/**
 * Our configuration from the arguments of EDM's `EDMPrecond` (a JSON object with keys such as `model_type`; absent keys take
 * the defaults of that class and of its `SongUNet` or `DhariwalUNet`).
 *
 * @throws InvalidArgumentError naming every unknown, missing or unusable key
 */
export function edmFromOriginal(json: unknown): EDMConfig {
  const who = 'edmFromOriginal';
  const type = (json as { model_type?: unknown } | null)?.model_type ?? 'DhariwalUNet';
  throwIf(who, choiceProblems('model_type', type, ['SongUNet', 'DhariwalUNet']));
  return type === 'SongUNet' ? songFromOriginal(who, json) : dhariwalFromOriginal(who, json);
}

function songFromOriginal(who: string, json: unknown): EDMConfig {
  const read = foreignConfig(who, json, {
    defaults: {
      ...precondKeys,
      model_channels: 128,
      channel_mult: [1, 2, 2, 2],
      num_blocks: 4,
      attn_resolutions: [16],
      embedding_type: 'positional',
      channel_mult_noise: 1,
      encoder_type: 'standard',
      decoder_type: 'standard',
      resample_filter: [1, 1],
    },
    fixed: {},
    ignored,
  });
  return {
    sigmaData: read('sigma_data') as number,
    unet: {
      type: 'song',
      ...commonFromOriginal(read),
      noiseEmbedding: read('embedding_type') as SongUNetConfig['noiseEmbedding'],
      noiseMult: read('channel_mult_noise') as number,
      encoder: read('encoder_type') as SongUNetConfig['encoder'],
      decoder: read('decoder_type') as SongUNetConfig['decoder'],
      resampleFilter: read('resample_filter') as number[],
    },
  };
}

function dhariwalFromOriginal(who: string, json: unknown): EDMConfig {
  const read = foreignConfig(who, json, {
    defaults: {
      ...precondKeys,
      model_channels: 192,
      channel_mult: [1, 2, 3, 4],
      num_blocks: 3,
      attn_resolutions: [32, 16, 8],
    },
    fixed: {},
    ignored,
  });
  return { sigmaData: read('sigma_data') as number, unet: { type: 'dhariwal', ...commonFromOriginal(read) } };
}

function commonFromOriginal(read: (key: string) => unknown): EDMUNetConfig {
  const channels = read('img_channels') as number;
  return {
    imageSize: read('img_resolution') as number,
    inChannels: channels,
    outChannels: channels,
    classes: (read('label_dim') as number) || null,
    augmentWidth: (read('augment_dim') as number) || null,
    modelChannels: read('model_channels') as number,
    channelMult: read('channel_mult') as number[],
    embeddingMult: read('channel_mult_emb') as number,
    resBlocks: read('num_blocks') as number,
    attentionSizes: read('attn_resolutions') as number[],
    dropout: read('dropout') as number,
  };
}
