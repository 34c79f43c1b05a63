import type { UNet2DConditionConfig } from './unet-2d-condition-config.js';

/** The settings in which Stable Diffusion's UNets (1, 2, XL and its refiner) do not differ. */
export const stableDiffusionSettings = {
  upDepth: null,
  textWidth: null,
  kernelIn: 3,
  kernelOut: 3,
  centerInput: false,
  downsamplePadding: 1,
  midScale: 1,
  activation: 'silu',
  timeConditioning: 'additive',
  groups: 32,
  epsilon: 1e-5,
  dropout: 0,
  timeEmbeddingType: 'sinusoidal',
  timeWidth: null,
  timeOrder: 'cos-sin',
  frequencyShift: 0,
  timePost: null,
  embeddingActivation: null,
  classEmbeddingsConcat: false,
  deepfloyd: null,
  textPooling: null,
} as const satisfies Partial<UNet2DConditionConfig>;
