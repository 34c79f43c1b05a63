import type { Preset } from '@mezzotint/core';
import type { ADMUNetConfig, ClassifierConfig } from '../adm/config.js';
import { NoisyClassifier } from '../adm/noisy-classifier.js';
import { SuperResolutionUNet } from '../adm/super-resolution-unet.js';
import { ADMUNet } from '../adm/unet.js';
import { classifierInputs, unetInputs } from './inputs.js';

/** Channel multiples by image size. Dhariwal and Nichol 2021, appendix I. */
const multiples = {
  64: [1, 2, 3, 4],
  128: [1, 1, 2, 3, 4],
  256: [1, 1, 2, 2, 4, 4],
  512: [0.5, 1, 1, 2, 2, 4, 4],
} as const;

/** What all published ADM models share. Attention is at 32, 16 and 8 pixels, whatever the image size. */
const shared = {
  inChannels: 3,
  heads: { channels: 64 },
  attentionOrder: 'legacy',
  timeConditioning: 'scale-shift',
  resampling: 'residual',
  groups: 32,
  dropout: 0,
} as const;

const model = { ...shared, outChannels: 6, headsUp: { channels: 64 }, classes: 1000, nullLabel: false } as const;
const fourHeads = { heads: { count: 4 }, headsUp: { count: 4 } } as const;

function attentionAt(imageSize: number, ...pixels: number[]): number[] {
  return pixels.map((side) => imageSize / side);
}

function adm(name: string, about: string, config: ADMUNetConfig): Preset<ADMUNet> {
  return { name, about, config, build: () => new ADMUNet(config), inputs: () => unetInputs(config) };
}

/** ADM, ImageNet 64x64, class-conditional, learned variance. */
export const adm64 = adm('adm-64', 'ADM, ImageNet 64x64, class-conditional (Dhariwal and Nichol 2021)', {
  ...model,
  imageSize: 64,
  modelChannels: 192,
  channelMult: multiples[64],
  resBlocks: 3,
  attentionResolutions: attentionAt(64, 32, 16, 8),
  attentionOrder: 'new',
  dropout: 0.1,
});

/** ADM, ImageNet 128x128, class-conditional, learned variance. */
export const adm128 = adm('adm-128', 'ADM, ImageNet 128x128, class-conditional (Dhariwal and Nichol 2021)', {
  ...model,
  ...fourHeads,
  imageSize: 128,
  modelChannels: 256,
  channelMult: multiples[128],
  resBlocks: 2,
  attentionResolutions: attentionAt(128, 32, 16, 8),
});

const config256: ADMUNetConfig = {
  ...model,
  imageSize: 256,
  modelChannels: 256,
  channelMult: multiples[256],
  resBlocks: 2,
  attentionResolutions: attentionAt(256, 32, 16, 8),
};

/** ADM, ImageNet 256x256, class-conditional, learned variance. */
export const adm256 = adm('adm-256', 'ADM, ImageNet 256x256, class-conditional (Dhariwal and Nichol 2021)', config256);

/** ADM, 256x256, unconditional, learned variance. */
export const adm256Uncond = adm('adm-256-uncond', 'ADM, 256x256, unconditional (Dhariwal and Nichol 2021)', {
  ...config256,
  classes: null,
});

/** ADM, ImageNet 512x512, class-conditional, learned variance. */
export const adm512 = adm('adm-512', 'ADM, ImageNet 512x512, class-conditional (Dhariwal and Nichol 2021)', {
  ...model,
  imageSize: 512,
  modelChannels: 256,
  channelMult: multiples[512],
  resBlocks: 2,
  attentionResolutions: attentionAt(512, 32, 16, 8),
});

function upsampler(name: string, about: string, from: number, config: ADMUNetConfig): Preset<SuperResolutionUNet> {
  return {
    name,
    about,
    config,
    build: () => new SuperResolutionUNet(config),
    inputs: () => unetInputs(config, { lowRes: { shape: [1, from, from, config.inChannels] } }),
  };
}

/** ADM-U, the ImageNet upsampler from 64x64 to 256x256. */
export const adm64To256Upsampler = upsampler(
  'adm-64-256-upsampler',
  'ADM upsampler, ImageNet 64x64 to 256x256, class-conditional (Dhariwal and Nichol 2021)',
  64,
  {
    ...model,
    ...fourHeads,
    imageSize: 256,
    modelChannels: 192,
    channelMult: multiples[256],
    resBlocks: 2,
    attentionResolutions: attentionAt(256, 32, 16, 8),
  },
);

/** ADM-U, the ImageNet upsampler from 128x128 to 512x512. */
export const adm128To512Upsampler = upsampler(
  'adm-128-512-upsampler',
  'ADM upsampler, ImageNet 128x128 to 512x512, class-conditional (Dhariwal and Nichol 2021)',
  128,
  {
    ...model,
    imageSize: 512,
    modelChannels: 192,
    channelMult: multiples[256],
    resBlocks: 2,
    attentionResolutions: attentionAt(512, 32, 16),
  },
);

function classifier(imageSize: keyof typeof multiples, resBlocks: number): Preset<NoisyClassifier> {
  const config: ClassifierConfig = {
    ...shared,
    imageSize,
    modelChannels: 128,
    channelMult: multiples[imageSize],
    resBlocks,
    attentionResolutions: attentionAt(imageSize, 32, 16, 8),
    pool: 'attention',
    classes: 1000,
  };
  return {
    name: `adm-classifier-${imageSize}`,
    about: `ADM's noisy classifier, ImageNet ${imageSize}x${imageSize} (Dhariwal and Nichol 2021)`,
    config,
    build: () => new NoisyClassifier(config),
    inputs: () => classifierInputs(config),
  };
}

/** ADM's noisy classifier of ImageNet at 64x64. */
export const admClassifier64 = classifier(64, 4);
/** ADM's noisy classifier of ImageNet at 128x128. */
export const admClassifier128 = classifier(128, 2);
/** ADM's noisy classifier of ImageNet at 256x256. */
export const admClassifier256 = classifier(256, 2);
/** ADM's noisy classifier of ImageNet at 512x512. */
export const admClassifier512 = classifier(512, 2);
