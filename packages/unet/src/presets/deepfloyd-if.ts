import type { Preset } from '@mezzotint/core';
import { stableDiffusionSettings } from '../diffusers/stable-diffusion-settings.js';
import { UNet2DCondition } from '../diffusers/unet-2d-condition.js';
import type { UNet2DConditionConfig } from '../diffusers/unet-2d-condition-config.js';

/** Tokens that IF's makers cut a prompt to, and the width of T5-XXL's states. */
const text = { tokens: 77, width: 4096 };

/** Stage I by its width C: levels of C, 2C, 3C and 4C, attention at 32, 16 and 8 pixels. */
function stageOne(width: number): UNet2DConditionConfig {
  const residual = ['residual', 'residual', 'residual', 'residual'] as const;
  return {
    ...stableDiffusionSettings,
    inChannels: 3,
    outChannels: 6,
    blockChannels: [width, 2 * width, 3 * width, 4 * width],
    resBlocks: [3, 3, 3, 3],
    downAttention: [false, true, true, true],
    upAttention: [false, true, true, true],
    downResample: residual,
    upResample: residual,
    mid: 'added-kv',
    heads: [64, 64, 64, 64],
    depth: [1, 1, 1, 1],
    onlyCrossAttention: [false, false, false, false],
    linearProjection: false,
    contextWidth: 4 * width,
    textWidth: text.width,
    timeConditioning: 'scale-shift',
    activation: 'erf',
    embeddingActivation: 'erf',
    midScale: Math.SQRT2,
    timeCondProjDim: null,
    classes: null,
    textTime: null,
    textPooling: { heads: 64 },
    deepfloyd: {
      headChannels: [64, 64, 64, 64],
      upHeadChannels: [64, 64, 64, 64],
      contextNorm: 'group',
      midOnlyCrossAttention: false,
      skipTimeActivation: true,
      residualScale: Math.SQRT2,
    },
  };
}

/** DeepFloyd IF's first stage, XL: 64x64 pixels, T5-XXL's text; predicts the noise and the variance. */
export const ifIXl = preset('if-i-xl', 'DeepFloyd IF, stage I, XL, 64x64 pixels', 704);

/** DeepFloyd IF's first stage, L. */
export const ifIL = preset('if-i-l', 'DeepFloyd IF, stage I, L, 64x64 pixels', 320);

/** DeepFloyd IF's first stage, M. */
export const ifIM = preset('if-i-m', 'DeepFloyd IF, stage I, M, 64x64 pixels', 192);

function preset(name: string, about: string, width: number): Preset<UNet2DCondition> {
  const config = stageOne(width);
  return {
    name,
    about,
    config,
    build: () => new UNet2DCondition(config),
    inputs: () => [{ shape: [1, 64, 64, 3] }, { shape: [1] }, { context: { shape: [1, text.tokens, text.width] } }],
  };
}
