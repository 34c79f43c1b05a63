import { choiceProblems, classProblems, countProblems, positiveProblems, throwIf } from '@mezzotint/core';

/** One level of convolutions of a {@link SimpleDiffusionUViT}. */
export interface SimpleDiffusionLevel {
  /** Channels; `groups` divides them. */
  readonly channels: number;
  /** Residual blocks on the way down; as many on the way up. */
  readonly blocks: number;
  /** Dropout rate inside them (the paper: 0, dropout is for low resolutions); only with an `rng`. */
  readonly dropout: number;
}

/** Configuration of {@link SimpleDiffusionUViT}. A plain JSON value. */
export interface SimpleDiffusionUViTConfig {
  /** Pixels of the image a side. */
  readonly imageSize: number;
  /** Channels of the image, in and out. */
  readonly inChannels: number;
  /** Factor by which the image is shrunk at first, P; 1: none. Section 2.3 of the paper. */
  readonly patchSize: number;
  /**
   * What shrinks it: a convolution of patches and a linear map back, or levels of the 5/3 wavelet of JPEG 2000 with the bands as
   * channels, and the transform back (the paper finds them slightly better); P is a power of 2 then.
   */
  readonly downsampling: 'patches' | 'wavelets';
  /** Levels of convolutions, the largest first; each leads to half the pixels a side. */
  readonly levels: readonly SimpleDiffusionLevel[];
  /** Width of the transformer below the levels, D. */
  readonly width: number;
  /** Blocks of the transformer. */
  readonly depth: number;
  /** Channels of an attention head. */
  readonly headWidth: number;
  /** Hidden width of the transformer's MLPs as a multiple of D. */
  readonly mlpRatio: number;
  /** Dropout rate inside the MLPs of the transformer; only with an `rng`. */
  readonly dropout: number;
  /** Width of the embedding of log-SNR and label. */
  readonly embeddingWidth: number;
  /** Groups of every group norm. */
  readonly groups: number;
  /** Classes, the null label not counted; null for a model without labels. */
  readonly classes: number | null;
  /** Whether the label table has a last row that means "no label". */
  readonly nullLabel: boolean;
}

/** Blocks in all: far above any published model, far below what a hostile file asks for. */
const maxBlocks = 1024;

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateSimpleDiffusionConfig(who: string, config: SimpleDiffusionUViTConfig): void {
  const { imageSize, inChannels, patchSize, levels, width, depth, headWidth, embeddingWidth, groups } = config;
  const listed = Array.isArray(levels) && levels.length > 0;
  const problems = [
    ...countProblems({ imageSize, inChannels, patchSize, width, depth, headWidth, embeddingWidth, groups }),
    ...choiceProblems('downsampling', config.downsampling, ['patches', 'wavelets']),
    ...positiveProblems('mlpRatio', config.mlpRatio),
    ...rateProblems('dropout', config.dropout),
    ...classProblems(config),
    ...(listed ? [] : [`levels: expected a list of at least one level, got ${JSON.stringify(levels)}`]),
    ...(listed ? levels : []).flatMap(({ channels, blocks, dropout }, i) => [
      ...countProblems({ [`levels[${i}].channels`]: channels, [`levels[${i}].blocks`]: blocks }),
      ...rateProblems(`levels[${i}].dropout`, dropout),
    ]),
  ];
  if (depth > maxBlocks) problems.push(`depth: expected at most ${maxBlocks}, got ${depth}`);
  if (listed && levels.length + levels.reduce((sum, { blocks }) => sum + (blocks || 0), 0) > maxBlocks) {
    problems.push(`levels: expected at most ${maxBlocks} levels and blocks`);
  }
  // What follows divides by these numbers, so it is looked at only once they are numbers.
  throwIf(who, problems);
  if (imageSize % sizeFactor(config) !== 0) {
    problems.push(
      `imageSize: expected a multiple of ${sizeFactor(config)} (patches of ${patchSize} and ${levels.length} levels), got ${imageSize}`,
    );
  }
  if (config.downsampling === 'wavelets' && !Number.isInteger(Math.log2(patchSize))) {
    problems.push(`patchSize: wavelets halve the sides, so expected a power of 2, got ${patchSize}`);
  }
  for (const [i, { channels }] of levels.entries()) {
    if (channels % groups !== 0)
      problems.push(`groups: ${groups} groups do not divide the ${channels} of levels[${i}]`);
  }
  if (width % headWidth !== 0) problems.push(`headWidth: heads of ${headWidth} do not divide the width ${width}`);
  if (embeddingWidth % 2 !== 0) {
    problems.push(`embeddingWidth: expected an even number (sines and cosines), got ${embeddingWidth}`);
  }
  throwIf(who, problems);
}

/** What divides the sides of the images: patches, and a halving for each level. */
export function sizeFactor({ patchSize, levels }: Pick<SimpleDiffusionUViTConfig, 'patchSize' | 'levels'>): number {
  return patchSize * 2 ** levels.length;
}

function rateProblems(name: string, rate: number): string[] {
  return rate >= 0 && rate < 1 ? [] : [`${name}: expected a rate in [0, 1), got ${JSON.stringify(rate)}`];
}
