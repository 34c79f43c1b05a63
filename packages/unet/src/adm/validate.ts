import { choiceProblems, classProblems, countProblems, InvalidArgumentError } from '@mezzotint/core';
import {
  type ADMUNetConfig,
  type ClassifierConfig,
  type EncoderConfig,
  type HeadRule,
  levelChannels,
  spatialWidth,
} from './config.js';

/** Deepest hierarchy and longest level that are built: far above any published model, far below what a hostile file asks for. */
const maxLevels = 12;
const maxResBlocks = 64;

/** Throws an InvalidArgumentError with everything that is wrong with a ADMUNet's configuration. */
export function validateUNetConfig(who: string, config: ADMUNetConfig): void {
  const { heads, headsUp, outChannels } = config;
  const problems = [
    ...countProblems({ outChannels }),
    ...classProblems(config),
    ...encoderProblems(config, { heads, headsUp }),
  ];
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}

/** Throws an InvalidArgumentError with everything that is wrong with a classifier's configuration. */
export function validateClassifierConfig(who: string, config: ClassifierConfig): void {
  const problems = [
    ...encoderProblems(config, { heads: config.heads }),
    ...countProblems({ classes: config.classes }),
    ...choiceProblems('pool', config.pool, ['attention', 'adaptive', 'spatial', 'spatial_v2']),
  ];
  if (config.pool === 'spatial_v2' && spatialWidth % config.groups !== 0) {
    problems.push(`groups: ${config.groups} groups do not divide the ${spatialWidth} channels of the spatial_v2 head`);
  }
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}

/** Head rules by the name that the configuration has for them. */
type Heads = Readonly<Record<string, HeadRule>>;

function encoderProblems(config: EncoderConfig, heads: Heads): string[] {
  const { imageSize, inChannels, modelChannels, channelMult, resBlocks, attentionResolutions, groups, dropout } =
    config;
  const problems = [
    ...countProblems({ imageSize, inChannels, modelChannels, resBlocks, groups }),
    ...choiceProblems('attentionOrder', config.attentionOrder, ['new', 'legacy']),
    ...choiceProblems('timeConditioning', config.timeConditioning, ['scale-shift', 'additive']),
    ...choiceProblems('resampling', config.resampling, ['residual', 'conv', 'pool']),
  ];
  if (!(dropout >= 0 && dropout < 1)) problems.push(`dropout: expected a rate in [0, 1), got ${dropout}`);
  if (resBlocks > maxResBlocks) problems.push(`resBlocks: expected at most ${maxResBlocks}, got ${resBlocks}`);
  if (!Array.isArray(channelMult) || channelMult.length === 0 || !channelMult.every((mult) => mult > 0)) {
    problems.push(
      `channelMult: expected one positive multiple of modelChannels a level, got ${JSON.stringify(channelMult)}`,
    );
  } else if (channelMult.length > maxLevels) {
    problems.push(`channelMult: expected at most ${maxLevels} levels, got ${channelMult.length}`);
  }
  if (!Array.isArray(attentionResolutions)) {
    problems.push(
      `attentionResolutions: expected a list of downsampling factors, got ${JSON.stringify(attentionResolutions)}`,
    );
  }
  // What follows divides by these numbers, so it is looked at only once they are numbers.
  return problems.length > 0 ? problems : relationProblems(config, heads);
}

function relationProblems(config: EncoderConfig, heads: Heads): string[] {
  const { imageSize, modelChannels, channelMult, attentionResolutions, groups } = config;
  const problems: string[] = [];
  const factors = channelMult.map((_, level) => 2 ** level);
  const deepest = factors.at(-1)!;
  if (imageSize % deepest !== 0) {
    problems.push(`imageSize: expected a multiple of ${deepest} (${factors.length} levels), got ${imageSize}`);
  }
  if (modelChannels % 2 !== 0) {
    problems.push(`modelChannels: expected an even number (half cosines, half sines), got ${modelChannels}`);
  }
  for (const factor of attentionResolutions) {
    if (!factors.includes(factor)) {
      problems.push(
        `attentionResolutions: ${factor} is not the factor of any level; the levels have ${factors.join(', ')}`,
      );
    }
  }
  channelMult.forEach((mult, level) => {
    const channels = mult * modelChannels;
    if (!Number.isInteger(channels)) {
      problems.push(`channelMult[${level}]: ${mult} x ${modelChannels} channels is not a whole number (${channels})`);
    } else if (channels % groups !== 0) {
      problems.push(`groups: ${groups} groups do not divide the ${channels} channels of level ${level}`);
    }
  });
  return [...problems, ...Object.entries(heads).flatMap(([name, rule]) => headProblems(name, rule, config))];
}

function headProblems(name: string, rule: HeadRule, config: EncoderConfig): string[] {
  const [kind, size] = Object.entries(rule ?? {})[0] ?? [];
  if ((kind !== 'count' && kind !== 'channels') || !Number.isInteger(size) || (size as number) < 1) {
    return [
      `${name}: expected { count } or { channels } with a whole number of at least 1, got ${JSON.stringify(rule)}`,
    ];
  }
  const last = config.channelMult.length - 1;
  return levelChannels(config).flatMap((channels, level) => {
    const attends = level === last || config.attentionResolutions.includes(2 ** level);
    if (!attends || channels % (size as number) === 0) return [];
    const what = kind === 'count' ? `${size} heads do` : `${size} channels a head does`;
    return [`${name}: ${what} not divide the ${channels} channels of level ${level}`];
  });
}
