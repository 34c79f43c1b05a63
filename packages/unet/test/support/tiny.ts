import { type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';
import { stableDiffusionSettings } from '../../src/diffusers/stable-diffusion-settings.js';
import type { ADMUNetConfig, ClassifierConfig, UNet2DConditionConfig, UNet2DConfig } from '../../src/index.js';

const encoder = {
  imageSize: 8,
  inChannels: 2,
  modelChannels: 8,
  channelMult: [1, 2],
  resBlocks: 1,
  attentionResolutions: [2],
  heads: { channels: 4 },
  attentionOrder: 'new',
  timeConditioning: 'scale-shift',
  resampling: 'residual',
  groups: 4,
  dropout: 0,
} as const;

/** The smallest network that has every part. */
export const tinyUNet: ADMUNetConfig = {
  ...encoder,
  outChannels: 4,
  headsUp: { channels: 4 },
  classes: 3,
  nullLabel: false,
};

export const tinyClassifier: ClassifierConfig = { ...encoder, pool: 'attention', classes: 5 };

export const tinyUNet2D: UNet2DConfig = {
  inChannels: 2,
  outChannels: 2,
  blockChannels: [8, 16],
  layersPerBlock: 1,
  downAttention: [false, true],
  upAttention: [true, false],
  downResample: ['conv', 'conv'],
  upResample: ['conv', 'conv'],
  mid: true,
  midAttention: true,
  midGroups: 4,
  headChannels: 8,
  activation: 'silu',
  timeConditioning: 'additive',
  groups: 4,
  epsilon: 1e-5,
  dropout: 0,
  timeEmbeddingType: 'sinusoidal',
  timeWidth: null,
  timeOrder: 'cos-sin',
  frequencyShift: 0,
  downsamplePadding: 1,
  centerInput: true,
  midScale: 2,
  classes: 3,
  nullLabel: false,
};

/** The smallest conditional network that has every part: both kinds of attention, a table, pooled text, a condition of the time. */
export const tinyUNet2DCondition: UNet2DConditionConfig = {
  ...stableDiffusionSettings,
  inChannels: 2,
  outChannels: 2,
  blockChannels: [8, 16],
  resBlocks: [1, 1],
  downAttention: [true, false],
  upAttention: [false, true],
  downResample: ['conv', 'conv'],
  upResample: ['conv', 'conv'],
  mid: 'transformer',
  heads: [2, 4],
  depth: [1, 2],
  onlyCrossAttention: [true, false],
  linearProjection: true,
  contextWidth: 6,
  groups: 4,
  timeCondProjDim: 3,
  classes: { table: 3 },
  textTime: { numberWidth: 4, width: 13 },
};

/** Weights where nothing is zero, so that every parameter matters: normals of deviation 0.2, scales of norms around 1. */
export async function randomise(model: Module, seed = 1): Promise<void> {
  const rng = new TorchGenerator(seed);
  const state: Record<string, HostTensor> = {};
  for (const [name, param] of model.params()) {
    const isScale = param.fileShape.length === 1 && name.endsWith('weight');
    const data = rng.randn(param.size).map((n) => (isScale ? 1 + 0.1 * n : 0.2 * n));
    state[name] = { shape: param.fileShape, data };
  }
  await model.load(state);
}

/** The smallest network of DeepFloyd IF's: residual steps, attention to text and pixels, pooled text, the noise level as a class. */
export const tinyDeepFloyd: UNet2DConditionConfig = {
  ...tinyUNet2DCondition,
  blockChannels: [8, 16],
  downAttention: [false, true],
  upAttention: [false, true],
  downResample: ['residual', 'residual'],
  upResample: ['residual', 'residual'],
  mid: 'added-kv',
  onlyCrossAttention: [false, false],
  contextWidth: 64,
  textWidth: 6,
  activation: 'erf',
  embeddingActivation: 'erf',
  timeConditioning: 'scale-shift',
  timeCondProjDim: null,
  classes: 'time',
  textTime: null,
  textPooling: { heads: 2 },
  deepfloyd: {
    headChannels: [4, 8],
    upHeadChannels: [4, 8],
    contextNorm: 'group',
    midOnlyCrossAttention: true,
    skipTimeActivation: true,
    residualScale: Math.SQRT2,
  },
};
