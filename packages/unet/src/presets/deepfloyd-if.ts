import { stableDiffusionSettings } from '../diffusers/stable-diffusion-settings.js';
import type { UNet2DConditionConfig } from '../diffusers/unet-2d-condition-config.js';
import { conditionedPreset } from './conditioned.js';

/** Width of T5-XXL's states. */
const TEXT_WIDTH = 4096;

/** Channels of an attention head, on every level of every stage. */
const HEAD = 64;

/** What stage II's residual sums are divided by: diffusers' conversion rounds 1 / sqrt(2) to 0.7071. */
const EFFICIENT_SCALE = 1 / 0.7071;

/** What both stages share, for levels of these widths. */
function shared(blockChannels: readonly number[], attention: readonly boolean[]) {
  const each = <T>(value: T): T[] => blockChannels.map(() => value);
  return {
    ...stableDiffusionSettings,
    outChannels: 6,
    blockChannels,
    downAttention: attention,
    upAttention: attention,
    downResample: each('residual' as const),
    upResample: each('residual' as const),
    mid: 'added-kv',
    heads: each(HEAD),
    depth: each(1),
    onlyCrossAttention: each(false),
    linearProjection: false,
    contextWidth: blockChannels.at(-1)!,
    textWidth: TEXT_WIDTH,
    timeConditioning: 'scale-shift',
    activation: 'erf',
    timeCondProjDim: null,
    textTime: null,
    textPooling: { heads: 64 },
  } as const;
}

const attentionOf = (blockChannels: readonly number[]) =>
  ({
    headChannels: blockChannels.map(() => HEAD),
    upHeadChannels: blockChannels.map(() => HEAD),
    contextNorm: 'group',
    midOnlyCrossAttention: false,
  }) as const;

/** Stage I by its width C: levels of C, 2C, 3C and 4C, attention at 32, 16 and 8 pixels; ADM's blocks. */
function stageOne(width: number): UNet2DConditionConfig {
  const blockChannels = [width, 2 * width, 3 * width, 4 * width];
  return {
    ...shared(blockChannels, [false, true, true, true]),
    inChannels: 3,
    resBlocks: [3, 3, 3, 3],
    midScale: 1,
    embeddingActivation: null,
    classes: null,
    deepfloyd: { ...attentionOf(blockChannels), skipTimeActivation: false, residualScale: 1 },
  };
}

/**
 * Stage II by its width C: levels of C, 2C, 4C, 6C and 8C, most blocks at 32 and 16 pixels where attention is, residual sums scaled:
 * Imagen's Efficient U-Net (Saharia et al. 2022, appendix B). Sees the resized, noised small picture beside x and is told its noise.
 */
function stageTwo(width: number): UNet2DConditionConfig {
  const blockChannels = [1, 2, 4, 6, 8].map((multiple) => multiple * width);
  return {
    ...shared(blockChannels, [false, false, false, true, true]),
    inChannels: 6,
    resBlocks: [2, 2, 3, 5, 5],
    timeWidth: 8 * width,
    midScale: EFFICIENT_SCALE,
    embeddingActivation: 'erf',
    classes: 'time',
    deepfloyd: { ...attentionOf(blockChannels), skipTimeActivation: true, residualScale: EFFICIENT_SCALE },
  };
}

/** DeepFloyd IF's first stage, XL: 64x64 pixels, T5-XXL's text; predicts the noise and the variance. */
export const ifIXl = conditionedPreset('if-i-xl', 'DeepFloyd IF, stage I, XL, 64x64 pixels', stageOne(704), 64);

/** DeepFloyd IF's first stage, L. */
export const ifIL = conditionedPreset('if-i-l', 'DeepFloyd IF, stage I, L, 64x64 pixels', stageOne(320), 64);

/** DeepFloyd IF's first stage, M. */
export const ifIM = conditionedPreset('if-i-m', 'DeepFloyd IF, stage I, M, 64x64 pixels', stageOne(192), 64);

/** DeepFloyd IF's second stage, L: from 64x64 to 256x256 pixels; its input has the resized small picture behind x. */
export const ifIIL = conditionedPreset(
  'if-ii-l',
  'DeepFloyd IF, stage II, L, 64x64 to 256x256 pixels',
  stageTwo(160),
  256,
  {
    labels: { shape: [1] },
  },
);
