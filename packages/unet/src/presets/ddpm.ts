import type { Preset } from '@mezzotint/core';
import type { UNetConfig } from '../adm/config.js';
import { UNet } from '../adm/unet.js';
import { unetInputs } from './inputs.js';

function unet(name: string, about: string, config: UNetConfig): Preset<UNet> {
  return { name, about, build: () => new UNet(config), inputs: () => unetInputs(config) };
}

const cifar10 = {
  imageSize: 32,
  inChannels: 3,
  modelChannels: 128,
  channelMult: [1, 2, 2, 2],
  resampling: 'conv',
  groups: 32,
  classes: null,
} as const;

/** DDPM on CIFAR-10: 35.7 M parameters, one head of attention at 16x16, predicts the noise. */
export const ddpmCifar10 = unet('ddpm-cifar10', 'DDPM, CIFAR-10 32x32, unconditional (Ho et al. 2020, appendix B)', {
  ...cifar10,
  outChannels: 3,
  resBlocks: 2,
  attentionFactors: [2],
  heads: { count: 1 },
  headsUp: { count: 1 },
  attentionOrder: 'legacy',
  timeConditioning: 'additive',
  dropout: 0.1,
});

const improved = {
  inChannels: 3,
  outChannels: 6,
  resBlocks: 3,
  heads: { count: 4 },
  headsUp: { count: 4 },
  attentionOrder: 'legacy',
  timeConditioning: 'scale-shift',
} as const;

/** Improved DDPM on CIFAR-10: learned variance, four heads at 16x16 and 8x8. */
export const iddpmCifar10 = unet(
  'iddpm-cifar10',
  'Improved DDPM, CIFAR-10 32x32, unconditional, learned variance (Nichol and Dhariwal 2021)',
  { ...cifar10, ...improved, attentionFactors: [2, 4], dropout: 0.3 },
);

/** Improved DDPM on ImageNet 64x64: learned variance, four heads at 16x16 and 8x8. */
export const iddpm64 = unet(
  'iddpm-64',
  'Improved DDPM, ImageNet 64x64, unconditional, learned variance (Nichol and Dhariwal 2021)',
  {
    ...improved,
    imageSize: 64,
    modelChannels: 128,
    channelMult: [1, 2, 3, 4],
    attentionFactors: [4, 8],
    resampling: 'conv',
    groups: 32,
    dropout: 0,
    classes: null,
  },
);
