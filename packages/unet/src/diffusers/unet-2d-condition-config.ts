import { InvalidArgumentError, isCount } from '@mezzotint/core';
import { type ActivationKind, activationKinds } from '@mezzotint/layers';

/** Configuration of {@link UNet2DCondition}. A plain JSON value. Lists by level start at full resolution. */
export interface UNet2DConditionConfig {
  /** Channels of the latent image; more where something is stacked on it (inpainting: 9). */
  readonly inChannels: number;
  readonly outChannels: number;
  /** Width of each level; each level below has half the pixels a side. */
  readonly blockChannels: readonly number[];
  /** Residual blocks of each level on the way down; on the way up there is one more. */
  readonly resBlocks: readonly number[];
  /** Which levels have transformers on the way down. */
  readonly downAttention: readonly boolean[];
  /** Which levels have transformers on the way up; by level too, full resolution first. */
  readonly upAttention: readonly boolean[];
  /** Steps between levels: a convolution, or a residual block that halves or doubles (DeepFloyd IF); attention is then that of {@link deepfloyd}. */
  readonly downResample: readonly ('conv' | 'residual')[];
  /** The same on the way up; by level too, full resolution first. */
  readonly upResample: readonly ('conv' | 'residual')[];
  /**
   * At the lowest resolution: two residual blocks and between them a transformer or DeepFloyd IF's attention, one residual
   * block alone, or nothing.
   */
  readonly mid: 'transformer' | 'added-kv' | 'residual' | null;
  /** Attention heads of each level; the last holds for the middle. */
  readonly heads: readonly number[];
  /** Blocks of a transformer of each level, or of each transformer of each level; the last's first holds for the middle. */
  readonly depth: readonly Depth[];
  /** The same on the way up, by level too, full resolution first; null: as on the way down. */
  readonly upDepth: readonly Depth[] | null;
  /** At which levels the first attention of a block sees the context too; never in the middle. */
  readonly onlyCrossAttention: readonly boolean[];
  /** Transformers with linear maps in and out (SD 2, SDXL), not convolutions (SD 1). */
  readonly linearProjection: boolean;
  /** Width of the context: 768 for CLIP ViT-L, 1024 for OpenCLIP ViT-H, 2048 for SDXL's pair. */
  readonly contextWidth: number;
  /** Width of the text states that the model itself maps to `contextWidth`; null when they come so wide. */
  readonly textWidth: number | null;
  /** Pixels a side of the first and of the last convolution's kernel; odd. */
  readonly kernelIn: number;
  readonly kernelOut: number;
  /** Images come in [0, 1] and are mapped to [-1, 1] first. */
  readonly centerInput: boolean;
  /** Zeros around the image before a step down: 1 on each side, or 0, which is one at the bottom and the right. */
  readonly downsamplePadding: 0 | 1;
  /** What the residual sums of the middle are divided by. */
  readonly midScale: number;
  /** Between the maps of the time's embedding, in residual blocks and before the last convolution. */
  readonly activation: ActivationKind;
  /** How the time enters residual blocks: added before the second norm, or as scale and shift after it. */
  readonly timeConditioning: 'additive' | 'scale-shift';
  /** Groups of every GroupNorm. */
  readonly groups: number;
  /** Epsilon of the residual blocks' GroupNorm (the transformers' is 1e-6). */
  readonly epsilon: number;
  /** Dropout rate inside residual blocks; applied only when a forward pass is given an `rng`. */
  readonly dropout: number;
  /** The embedding of the time: of the frequencies of a table, or of random ones that the weights hold. */
  readonly timeEmbeddingType: 'sinusoidal' | 'fourier';
  /** Width of the time's embedding; null for 4 (with `fourier` 2) times the width of full resolution. */
  readonly timeWidth: number | null;
  /** Which half of the sinusoidal embedding comes first. */
  readonly timeOrder: 'sin-cos' | 'cos-sin';
  /** s in the frequencies 10000^(-i / (half - s)): 0, or 1 as in DDPM. */
  readonly frequencyShift: number;
  /** After the maps of the time's embedding; null for nothing. */
  readonly timePost: ActivationKind | null;
  /** On the sum of all embeddings, before blocks see it; null for nothing. */
  readonly embeddingActivation: ActivationKind | null;
  /** Width of what is added to the time embedding before its two maps (distilled guidance, LCM: 256); null for none. */
  readonly timeCondProjDim: number | null;
  /** What is added to the time for each image; null for nothing. */
  readonly classes: Classes | null;
  /** The classes' embedding stands beside the time's and is not added to it. */
  readonly classEmbeddingsConcat: boolean;
  /** DeepFloyd IF: what its blocks have of their own; null where there are none. */
  readonly deepfloyd: DeepFloydSettings | null;
  /** DeepFloyd IF: the text, pooled by attention of so many heads, is added to the time; null for nothing. */
  readonly textPooling: { readonly heads: number } | null;
  /** SDXL: pooled text and numbers (sizes, crop, score), each number a sinusoidal embedding of width `numberWidth`, `width` in all; or null. */
  readonly textTime: { readonly numberWidth: number; readonly width: number } | null;
}

/** DeepFloyd IF: the levels whose steps are residual blocks, and the middle `added-kv`. */
export interface DeepFloydSettings {
  /** Channels of an attention head of each level; the last holds for the middle. */
  readonly headChannels: readonly number[];
  /** The same on the way up; by level too, full resolution first. */
  readonly upHeadChannels: readonly number[];
  /** Norm of the context before its keys and values. */
  readonly contextNorm: 'layer' | 'group' | null;
  /** The middle's pixels see the text, not each other. */
  readonly midOnlyCrossAttention: boolean;
  /** The embedding goes into residual blocks as it is, without an activation. */
  readonly skipTimeActivation: boolean;
  /** What the residual sums are divided by, but for the middle's, which have `midScale`. */
  readonly residualScale: number;
}

/** Blocks of every transformer of a level, or of each of them. */
export type Depth = number | readonly number[];

/**
 * A row of a table of so many classes (SD's x4 upscaler: its noise levels); a vector of that width through two maps
 * (unCLIP) or through one; a vector as wide as the time's embedding as it is; or a number, as the time (`'time'`).
 */
export type Classes =
  | { readonly table: number }
  | { readonly vector: number }
  | { readonly linear: number }
  | 'vector'
  | 'time';

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateUNet2DConditionConfig(who: string, config: UNet2DConditionConfig): void {
  const { classes, textTime } = config;
  const optional = {
    textWidth: config.textWidth,
    timeWidth: config.timeWidth,
    timeCondProjDim: config.timeCondProjDim,
  };
  const below = (name: string, object: object) =>
    Object.fromEntries(Object.entries(object).map(([key, value]) => [`${name}.${key}`, value]));
  const counts: Record<string, unknown> = {
    inChannels: config.inChannels,
    outChannels: config.outChannels,
    contextWidth: config.contextWidth,
    kernelIn: config.kernelIn,
    kernelOut: config.kernelOut,
    groups: config.groups,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== null)),
    ...(typeof classes === 'object' && classes !== null && below('classes', classes)),
    ...(textTime !== null && below('textTime', textTime)),
    ...(config.textPooling !== null && below('textPooling', config.textPooling)),
  };
  const problems = Object.entries(counts)
    .filter(([, value]) => !isCount(value))
    .map(([name, value]) => `${name}: expected a whole number of at least 1, got ${JSON.stringify(value)}`);
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    problems.push(`dropout: expected a rate in [0, 1), got ${config.dropout}`);
  }
  if (!(config.epsilon > 0)) problems.push(`epsilon: expected a positive number, got ${config.epsilon}`);
  if (!(config.midScale > 0)) problems.push(`midScale: expected a positive number, got ${config.midScale}`);
  problems.push(...choiceProblems(config), ...levelProblems(config));
  if (problems.length === 0) problems.push(...relationProblems(config));
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}

/** What is not one of a setting's few values. */
function choiceProblems(config: UNet2DConditionConfig): string[] {
  const choices = {
    mid: ['transformer', 'added-kv', 'residual', null],
    downsamplePadding: [0, 1],
    activation: activationKinds,
    timeConditioning: ['additive', 'scale-shift'],
    timeEmbeddingType: ['sinusoidal', 'fourier'],
    timeOrder: ['sin-cos', 'cos-sin'],
    timePost: [null, ...activationKinds],
    embeddingActivation: [null, ...activationKinds],
    centerInput: [true, false],
    classEmbeddingsConcat: [true, false],
  } satisfies Partial<Record<keyof UNet2DConditionConfig, readonly unknown[]>>;
  return Object.entries(choices)
    .filter(([name, values]) => !(values as unknown[]).includes(config[name as keyof typeof choices]))
    .map(
      ([name, values]) =>
        `${name}: expected ${values.map((value) => JSON.stringify(value)).join(' or ')}, got ${JSON.stringify(config[name as keyof typeof choices])}`,
    );
}

/** The longest lists and deepest blocks that anyone built are 4 levels, 3 blocks a level and 10 deep. */
const MOST = { levels: 12, resBlocks: 64, depth: 256 };

function levelProblems(config: UNet2DConditionConfig): string[] {
  const { blockChannels } = config;
  if (!Array.isArray(blockChannels) || blockChannels.length === 0 || blockChannels.length > MOST.levels) {
    return [`blockChannels: expected 1 to ${MOST.levels} whole numbers, got ${JSON.stringify(blockChannels)}`];
  }
  const isFlag = (value: unknown) => typeof value === 'boolean';
  const isStep = (value: unknown) => value === 'conv' || value === 'residual';
  const upTo = (most: number) => (value: unknown) => isCount(value) && (value as number) <= most;
  const lists = [
    ['blockChannels', isCount, 'a whole number of at least 1'],
    ['resBlocks', upTo(MOST.resBlocks), `a whole number from 1 to ${MOST.resBlocks}`],
    ['heads', isCount, 'a whole number of at least 1'],
    ['downAttention', isFlag, 'true or false'],
    ['upAttention', isFlag, 'true or false'],
    ['onlyCrossAttention', isFlag, 'true or false'],
    ['downResample', isStep, '"conv" or "residual"'],
    ['upResample', isStep, '"conv" or "residual"'],
  ] as const;
  const listed = lists
    .filter(([name, fits]) => {
      const list: unknown = config[name];
      return !(Array.isArray(list) && list.length === blockChannels.length && list.every(fits));
    })
    .map(
      ([name, , expected]) =>
        `${name}: expected ${expected} for each of ${blockChannels.length} levels, got ${JSON.stringify(config[name])}`,
    );
  return [...listed, ...depthProblems(config)];
}

/** Depths by level, or by transformer of a level: as many as it has, or more, which are not used. */
function depthProblems({ blockChannels, resBlocks, depth, upDepth }: UNet2DConditionConfig): string[] {
  const isDepth = (value: unknown) => value === 0 || (isCount(value) && (value as number) <= MOST.depth);
  const ways: [string, readonly Depth[], more: number][] = [['depth', depth, 0]];
  if (upDepth !== null) ways.push(['upDepth', upDepth, 1]);
  return ways
    .filter(([, list, more]) => {
      const fits = (value: unknown, level: number) =>
        Array.isArray(value)
          ? value.length >= (resBlocks?.[level] ?? 0) + more && value.every(isDepth)
          : isDepth(value);
      return !(Array.isArray(list) && list.length === blockChannels.length && list.every(fits));
    })
    .map(
      ([name, list]) =>
        `${name}: expected a whole number from 0 to ${MOST.depth} for each of ${blockChannels.length} levels, or for each of a level's transformers, got ${JSON.stringify(list)}`,
    );
}

function relationProblems({ blockChannels, groups, heads, textTime, ...config }: UNet2DConditionConfig): string[] {
  const problems: string[] = [];
  if (config.timeEmbeddingType === 'sinusoidal') {
    const half = Math.floor(blockChannels[0]! / 2);
    if (blockChannels[0]! < 4) {
      problems.push(`blockChannels[0]: expected at least 4 for the time embedding, got ${blockChannels[0]}`);
    } else if (!(Number.isFinite(config.frequencyShift) && config.frequencyShift < half)) {
      problems.push(
        `frequencyShift: expected a number below half the width ${blockChannels[0]}, got ${config.frequencyShift}`,
      );
    }
  } else if (config.timeWidth !== null && config.timeWidth % 2 !== 0) {
    problems.push(`timeWidth: expected an even width, for pairs of sine and cosine, got ${config.timeWidth}`);
  }
  for (const name of ['kernelIn', 'kernelOut'] as const) {
    if (config[name] % 2 === 0) problems.push(`${name}: expected an odd number of pixels, got ${config[name]}`);
  }
  if (config.classEmbeddingsConcat && (config.classes === null || textTime !== null)) {
    problems.push('classEmbeddingsConcat: expected classes, and no textTime, whose embedding is half as wide');
  }
  blockChannels.forEach((channels, level) => {
    if (channels % groups !== 0) {
      problems.push(`groups: ${groups} groups do not divide the ${channels} channels of level ${level}`);
    }
    const middle = config.mid === 'transformer' && level === blockChannels.length - 1;
    const down = config.downAttention[level] && config.downResample[level] === 'conv';
    const attends = middle || down || (config.upAttention[level] && config.upResample[level] === 'conv');
    if (attends && channels % heads[level]! !== 0) {
      problems.push(`heads: ${heads[level]} heads do not divide the ${channels} channels of level ${level}`);
    }
  });
  problems.push(...deepfloydProblems(config, blockChannels));
  if (textTime !== null && config.textPooling !== null) {
    problems.push('textTime and textPooling: expected one of them, since both are `add_embedding`');
  }
  if (textTime !== null && textTime.width <= textTime.numberWidth) {
    const { width, numberWidth } = textTime;
    problems.push(`textTime.width: expected more than one number's ${numberWidth}, got ${width}`);
  }
  return problems;
}

/** Where DeepFloyd IF's blocks are, and what their attention needs. */
function deepfloydProblems(
  config: Omit<UNet2DConditionConfig, 'blockChannels' | 'groups' | 'heads' | 'textTime'>,
  blockChannels: readonly number[],
): string[] {
  const { deepfloyd, textPooling, downResample, upResample, contextWidth } = config;
  const problems: string[] = [];
  const textWidth = config.textWidth ?? contextWidth;
  if (textPooling !== null && textWidth % textPooling.heads !== 0) {
    problems.push(`textPooling.heads: ${textPooling.heads} heads do not divide the ${textWidth} channels of the text`);
  }
  const has = [...downResample, ...upResample].includes('residual') || config.mid === 'added-kv';
  if (deepfloyd === null) return has ? [...problems, 'deepfloyd: expected settings of its blocks, got null'] : problems;
  if (!has)
    return [...problems, "deepfloyd: expected null, since no level steps by residual blocks and mid is not 'added-kv'"];
  const { headChannels, upHeadChannels, contextNorm, residualScale } = deepfloyd;
  if (!['layer', 'group', null].includes(contextNorm)) {
    problems.push(`deepfloyd.contextNorm: expected "layer", "group" or null, got ${JSON.stringify(contextNorm)}`);
  }
  if (!(residualScale > 0)) problems.push(`deepfloyd.residualScale: expected a positive number, got ${residualScale}`);
  for (const name of ['headChannels', 'upHeadChannels'] as const) {
    const list: unknown = deepfloyd[name];
    if (!Array.isArray(list) || list.length !== blockChannels.length || !list.every(isCount)) {
      const expected = `expected a whole number of at least 1 for each of ${blockChannels.length} levels`;
      return [...problems, `deepfloyd.${name}: ${expected}, got ${JSON.stringify(list)}`];
    }
  }
  if (contextNorm === 'group' && contextWidth % 32 !== 0) {
    problems.push(`contextWidth: expected a multiple of the 32 groups of its norm, got ${contextWidth}`);
  }
  blockChannels.forEach((channels, level) => {
    const middle = config.mid === 'added-kv' && level === blockChannels.length - 1;
    const down = middle || (config.downAttention[level] && downResample[level] === 'residual');
    const up = config.upAttention[level] && upResample[level] === 'residual';
    if ((down || up) && contextNorm === 'layer' && channels !== contextWidth) {
      const expected = `expected the context's ${contextWidth}, whose norm has the level's width`;
      problems.push(`blockChannels[${level}]: ${expected}, got ${channels}`);
    }
    const heads = { headChannels: down ? headChannels[level]! : 1, upHeadChannels: up ? upHeadChannels[level]! : 1 };
    for (const [name, head] of Object.entries(heads)) {
      if (channels % head === 0) continue;
      problems.push(`deepfloyd.${name}: heads of ${head} channels do not divide the ${channels} of level ${level}`);
    }
  });
  return problems;
}
