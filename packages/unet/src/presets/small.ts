import type { Preset } from '@mezzotint/core';
import type { ADMUNetConfig, ClassifierConfig } from '../adm/config.js';
import { NoisyClassifier } from '../adm/noisy-classifier.js';
import { type SuperResolutionConfig, SuperResolutionUNet } from '../adm/super-resolution-unet.js';
import { ADMUNet } from '../adm/unet.js';
import { classifierInputs, unetInputs } from './inputs.js';

/** What our two networks for 28x28 digits share. Half the width at full resolution keeps most work at 14x14 and 7x7. */
const shared = {
  imageSize: 28,
  inChannels: 1,
  modelChannels: 32,
  channelMult: [0.5, 1, 2],
  resBlocks: 1,
  attentionResolutions: [4],
  heads: { channels: 32 },
  attentionOrder: 'new',
  timeConditioning: 'scale-shift',
  resampling: 'pool',
  groups: 8,
} as const;

const digitsConfig: ADMUNetConfig = {
  ...shared,
  dropout: 0,
  outChannels: 1,
  headsUp: { channels: 32 },
  classes: 10,
  nullLabel: true,
};

/** Our model of 28x28 grey digits: classes 0..9, and 10 for "no label" (classifier-free guidance). */
export const digits: Preset<ADMUNet> = {
  name: 'digits',
  about: 'Small ADM of our own for 28x28 grey digits; class 10 is "no label"',
  config: digitsConfig,
  build: () => new ADMUNet(digitsConfig),
  inputs: () => unetInputs(digitsConfig),
};

const digitsClassifierConfig: ClassifierConfig = { ...shared, dropout: 0.1, pool: 'attention', classes: 10 };

/** Our classifier of 28x28 grey digits, noisy or clean (time 0); `features` gives 64 numbers an image. */
export const digitsClassifier: Preset<NoisyClassifier> = {
  name: 'digits-classifier',
  about: 'Small noisy classifier of our own for 28x28 grey digits, with 64 features',
  config: digitsClassifierConfig,
  build: () => new NoisyClassifier(digitsClassifierConfig),
  inputs: () => classifierInputs(digitsClassifierConfig),
};

const smallUpsamplerConfig: SuperResolutionConfig = {
  imageSize: 64,
  inChannels: 3,
  outChannels: 3,
  modelChannels: 32,
  channelMult: [0.5, 1, 2, 2],
  resBlocks: 1,
  attentionResolutions: [],
  heads: { channels: 32 },
  headsUp: { channels: 32 },
  attentionOrder: 'new',
  timeConditioning: 'scale-shift',
  resampling: 'residual',
  groups: 8,
  dropout: 0,
  classes: 9,
  nullLabel: true,
  lowResTime: true,
};

/** Our upsampler from 16x16 to 64x64 for nine classes, told how noisy the small picture is; half the width at full resolution. */
export const smallUpsampler64: Preset<SuperResolutionUNet> = {
  name: 'small-upsampler-64',
  about: 'Small ADM upsampler of our own, 16x16 to 64x64, nine classes, told the noise of the small picture',
  config: smallUpsamplerConfig,
  build: () => new SuperResolutionUNet(smallUpsamplerConfig),
  inputs: () => unetInputs(smallUpsamplerConfig, { lowRes: { shape: [1, 16, 16, 3] }, lowResTime: { shape: [1] } }),
};

const benchConfig: ADMUNetConfig = {
  imageSize: 32,
  inChannels: 3,
  outChannels: 3,
  modelChannels: 64,
  channelMult: [1, 2, 2],
  resBlocks: 2,
  attentionResolutions: [2],
  heads: { channels: 64 },
  headsUp: { channels: 64 },
  attentionOrder: 'new',
  timeConditioning: 'scale-shift',
  resampling: 'conv',
  groups: 32,
  dropout: 0,
  classes: null,
  nullLabel: false,
};

/** The ADMUNet of 6.95 M parameters that engines are compared with, at 8x32x32x3. */
export const benchUnet: Preset<ADMUNet> = {
  name: 'bench-unet',
  about: 'The ADMUNet of 6.95 M parameters on which engines are timed, 32x32 images, batch 8',
  config: benchConfig,
  build: () => new ADMUNet(benchConfig),
  inputs: () => unetInputs(benchConfig),
};
