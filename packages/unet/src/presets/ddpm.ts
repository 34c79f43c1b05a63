import type { Preset } from '@mezzotint/core';
import type { ADMUNetConfig } from '../adm/config.js';
import { SuperResolutionUNet } from '../adm/super-resolution-unet.js';
import { ADMUNet } from '../adm/unet.js';
import { UNet2D } from '../diffusers/unet-2d.js';
import type { UNet2DConfig } from '../diffusers/unet-2d-config.js';
import { unetInputs } from './inputs.js';

function unet(name: string, about: string, config: ADMUNetConfig): Preset<ADMUNet> {
  return { name, about, config, build: () => new ADMUNet(config), inputs: () => unetInputs(config) };
}

const ddpmConfig: UNet2DConfig = {
  inChannels: 3,
  outChannels: 3,
  blockChannels: [128, 256, 256, 256],
  layersPerBlock: 2,
  downAttention: [false, true, false, false],
  upAttention: [false, false, true, false],
  downResample: ['conv', 'conv', 'conv', 'conv'],
  upResample: ['conv', 'conv', 'conv', 'conv'],
  mid: true,
  midAttention: true,
  midGroups: 32,
  headChannels: null,
  activation: 'silu',
  timeConditioning: 'additive',
  groups: 32,
  epsilon: 1e-6,
  dropout: 0.1,
  timeEmbeddingType: 'sinusoidal',
  timeWidth: null,
  timeOrder: 'sin-cos',
  frequencyShift: 1,
  downsamplePadding: 0,
  centerInput: false,
  midScale: 1,
  classes: null,
  nullLabel: false,
};

/** DDPM on CIFAR-10: one head of attention at 16x16, predicts the noise. */
export const ddpmCifar10: Preset<UNet2D> = {
  name: 'ddpm-cifar10',
  about: 'DDPM, CIFAR-10 32x32, unconditional (Ho et al. 2020, appendix B)',
  config: ddpmConfig,
  build: () => new UNet2D(ddpmConfig),
  inputs: () => [{ shape: [1, 32, 32, 3] }, { shape: [1] }],
};

/** What the models of Improved DDPM share: learned variance, scale and shift by the time, four heads. */
const improved = {
  inChannels: 3,
  outChannels: 6,
  modelChannels: 128,
  resBlocks: 3,
  heads: { count: 4 },
  headsUp: { count: 4 },
  attentionOrder: 'legacy',
  timeConditioning: 'scale-shift',
  resampling: 'conv',
  groups: 32,
  classes: null,
  nullLabel: false,
} as const;

/** Improved DDPM on CIFAR-10: learned variance, four heads at 16x16 and 8x8. */
export const iddpmCifar10 = unet(
  'iddpm-cifar10',
  'Improved DDPM, CIFAR-10 32x32, unconditional, learned variance (Nichol and Dhariwal 2021)',
  {
    ...improved,
    imageSize: 32,
    channelMult: [1, 2, 2, 2],
    attentionResolutions: [2, 4],
    dropout: 0.3,
  },
);

/** Improved DDPM on ImageNet 64x64: learned variance, four heads at 16x16 and 8x8. */
export const iddpm64 = unet(
  'iddpm-64',
  'Improved DDPM, ImageNet 64x64, unconditional, learned variance (Nichol and Dhariwal 2021)',
  {
    ...improved,
    imageSize: 64,
    channelMult: [1, 2, 3, 4],
    attentionResolutions: [4, 8],
    dropout: 0,
  },
);

/** Improved DDPM on ImageNet 64x64 with classes: 192 channels, four heads at 16x16 and 8x8. */
export const iddpm64Cond = unet(
  'iddpm-64-cond',
  'Improved DDPM, ImageNet 64x64, class-conditional, learned variance (Nichol and Dhariwal 2021)',
  {
    ...improved,
    imageSize: 64,
    modelChannels: 192,
    channelMult: [1, 2, 3, 4],
    attentionResolutions: [4, 8],
    classes: 1000,
    dropout: 0,
  },
);

/** Improved DDPM on LSUN bedrooms: one head at 16x16, the time added. */
export const iddpmLsun256 = unet(
  'iddpm-lsun-256',
  'Improved DDPM, LSUN bedrooms 256x256, unconditional, learned variance (Nichol and Dhariwal 2021)',
  {
    ...improved,
    imageSize: 256,
    channelMult: [1, 1, 2, 2, 4, 4],
    resBlocks: 2,
    attentionResolutions: [16],
    heads: { count: 1 },
    headsUp: { count: 1 },
    timeConditioning: 'additive',
    dropout: 0,
  },
);

const upsamplerConfig: ADMUNetConfig = {
  ...improved,
  imageSize: 256,
  modelChannels: 192,
  channelMult: [1, 1, 2, 2, 4, 4],
  resBlocks: 2,
  attentionResolutions: [16, 32],
  classes: 1000,
  dropout: 0,
};

/** Improved DDPM's upsampler of ImageNet from 64x64 to 256x256. */
export const iddpm64To256Upsampler: Preset<SuperResolutionUNet> = {
  name: 'iddpm-64-256-upsampler',
  about: 'Improved DDPM upsampler, ImageNet 64x64 to 256x256, class-conditional (Nichol and Dhariwal 2021)',
  config: upsamplerConfig,
  build: () => new SuperResolutionUNet(upsamplerConfig),
  inputs: () => unetInputs(upsamplerConfig, { lowRes: { shape: [1, 64, 64, upsamplerConfig.inChannels] } }),
};
