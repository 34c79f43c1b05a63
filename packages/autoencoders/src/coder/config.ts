import { countProblems, InvalidArgumentError } from '@mezzotint/core';

/** What the encoder and the decoder of every convolutional autoencoder here have in common. A plain JSON value. */
export interface CoderConfig {
  /** Channels of the image that is encoded. */
  readonly inChannels: number;
  /** Channels of the image that is decoded. */
  readonly outChannels: number;
  /** Width of each level, full resolution first; each level below has half the pixels a side. */
  readonly blockChannels: readonly number[];
  /** Residual blocks a level of the encoder; the decoder has one more. */
  readonly layersPerBlock: number;
  /** Channels of the latent image. */
  readonly latentChannels: number;
  /** Groups of every GroupNorm. */
  readonly groups: number;
  /** Attention over all pixels at the lowest resolution. */
  readonly midAttention: boolean;
}

/** Deepest hierarchy and longest level that are built: far above any published model, far below what a hostile file asks for. */
const maxLevels = 12;
const maxLayers = 64;

/** Pixels of the image a side for one pixel of the latent image. */
export function downscale({ blockChannels }: Pick<CoderConfig, 'blockChannels'>): number {
  return 2 ** (blockChannels.length - 1);
}

/** Throws an InvalidArgumentError with everything that is wrong with the configuration; `counts` must be whole and at least 1. */
export function validateCoder(who: string, config: CoderConfig, counts: Readonly<Record<string, number>> = {}): void {
  const { inChannels, outChannels, blockChannels, layersPerBlock, latentChannels, groups } = config;
  const problems = countProblems({ inChannels, outChannels, layersPerBlock, latentChannels, groups, ...counts });
  if (layersPerBlock > maxLayers) problems.push(`layersPerBlock: expected at most ${maxLayers}, got ${layersPerBlock}`);
  problems.push(...levelProblems('blockChannels', blockChannels, 1));
  if (problems.length === 0) {
    blockChannels.forEach((channels, level) => {
      if (channels % groups !== 0)
        problems.push(`groups: ${groups} groups do not divide the ${channels} channels of level ${level}`);
    });
  }
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}

/** What is wrong with a list of one number a level, each whole and at least `least`. */
export function levelProblems(name: string, levels: readonly number[], least: number): string[] {
  const isLevel = (value: unknown) => isWhole(value, least);
  const fits = Array.isArray(levels) && levels.length >= 1 && levels.length <= maxLevels && levels.every(isLevel);
  if (fits) return [];
  return [`${name}: expected 1 to ${maxLevels} whole numbers of at least ${least}, got ${JSON.stringify(levels)}`];
}

function isWhole(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least;
}
