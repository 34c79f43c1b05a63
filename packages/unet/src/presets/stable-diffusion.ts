import type { InputSpec } from '@mezzotint/core';
import { stableDiffusionSettings } from '../diffusers/stable-diffusion-settings.js';
import type { UNet2DConditionConfig } from '../diffusers/unet-2d-condition-config.js';
import { conditionedPreset } from './conditioned.js';

const none = [false, false, false, false];

const sd15Config: UNet2DConditionConfig = {
  ...stableDiffusionSettings,
  inChannels: 4,
  outChannels: 4,
  blockChannels: [320, 640, 1280, 1280],
  resBlocks: [2, 2, 2, 2],
  downAttention: [true, true, true, false],
  upAttention: [true, true, true, false],
  downResample: ['conv', 'conv', 'conv', 'conv'],
  upResample: ['conv', 'conv', 'conv', 'conv'],
  mid: 'transformer',
  heads: [8, 8, 8, 8],
  depth: [1, 1, 1, 1],
  onlyCrossAttention: none,
  linearProjection: false,
  contextWidth: 768,
  timeCondProjDim: null,
  classes: null,
  textTime: null,
};

const sd21Config: UNet2DConditionConfig = {
  ...sd15Config,
  heads: [5, 10, 20, 20],
  linearProjection: true,
  contextWidth: 1024,
};

const sdxlBaseConfig: UNet2DConditionConfig = {
  ...sd15Config,
  blockChannels: [320, 640, 1280],
  resBlocks: [2, 2, 2],
  downAttention: [false, true, true],
  upAttention: [false, true, true],
  downResample: ['conv', 'conv', 'conv'],
  upResample: ['conv', 'conv', 'conv'],
  heads: [5, 10, 20],
  depth: [1, 2, 10],
  onlyCrossAttention: none.slice(1),
  linearProjection: true,
  contextWidth: 2048,
  textTime: { numberWidth: 256, width: 2816 },
};

const sdxlRefinerConfig: UNet2DConditionConfig = {
  ...sd15Config,
  blockChannels: [384, 768, 1536, 1536],
  downAttention: [false, true, true, false],
  upAttention: [false, true, true, false],
  heads: [6, 12, 24, 24],
  depth: [4, 4, 4, 4],
  linearProjection: true,
  contextWidth: 1280,
  textTime: { numberWidth: 256, width: 2560 },
};

/** Stable Diffusion 1.1 to 1.5: 64x64 latent images, CLIP ViT-L's text; predicts the noise. */
export const sd15 = conditionedPreset(
  'sd15',
  'Stable Diffusion 1.x, 512x512 pixels (Rombach et al. 2022)',
  sd15Config,
  64,
);

/** Stable Diffusion 2.1: 96x96 latent images, OpenCLIP ViT-H's text; predicts v. */
export const sd21 = conditionedPreset(
  'sd21',
  'Stable Diffusion 2.x, 768x768 pixels (Rombach et al. 2022)',
  sd21Config,
  96,
);

/** SDXL's base: 128x128 latent images, two texts, sizes and crop. */
export const sdxlBase = conditionedPreset(
  'sdxl-base',
  'SDXL base, 1024x1024 pixels (Podell et al. 2023)',
  sdxlBaseConfig,
  128,
  numbers(1280, 6),
);

/** SDXL's refiner: 128x128 latent images with little noise, sizes, crop and score. */
export const sdxlRefiner = conditionedPreset(
  'sdxl-refiner',
  'SDXL refiner, 1024x1024 pixels (Podell et al. 2023)',
  sdxlRefinerConfig,
  128,
  numbers(1280, 5),
);

function numbers(pooled: number, count: number): Readonly<Record<string, InputSpec>> {
  return { pooled: { shape: [1, pooled] }, timeIds: { shape: [1, count] } };
}
