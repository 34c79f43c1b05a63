import {
  type ClassifierArchitecture,
  type DataShape,
  type DenoiserArchitecture,
  labelCondition,
  type ModelSize,
  type NetworkSignature,
} from '@mezzotint/core';
import {
  adm64,
  adm64To256Upsampler,
  adm128,
  adm128To512Upsampler,
  adm256,
  adm256Uncond,
  adm512,
  admClassifier64,
  admClassifier128,
  admClassifier256,
  admClassifier512,
} from '../presets/adm.js';
import { iddpm64, iddpm64Cond, iddpm64To256Upsampler, iddpmCifar10, iddpmLsun256 } from '../presets/ddpm.js';
import { benchUnet, digits, digitsClassifier, smallUpsampler64 } from '../presets/small.js';
import { type ADMUNetConfig, type EncoderConfig, totalDownsampling } from './config.js';
import { classifierFromGuidedDiffusion, fromGuidedDiffusion } from './from-guided-diffusion.js';
import { NoisyClassifier } from './noisy-classifier.js';
import { SuperResolutionUNet } from './super-resolution-unet.js';
import { ADMUNet } from './unet.js';

/** ADM, and by other settings DDPM and Improved DDPM. */
export const adm: DenoiserArchitecture<ADMUNet> = {
  kind: 'denoiser',
  name: 'ADMUNet',
  formerNames: ['UNet'],
  package: '@mezzotint/unet',
  about: 'UNet of ADM (Dhariwal and Nichol 2021), Improved DDPM and DDPM',
  time: 'timestep',
  presets: [
    digits,
    benchUnet,
    iddpmCifar10,
    iddpm64,
    iddpm64Cond,
    iddpmLsun256,
    adm64,
    adm128,
    adm256,
    adm256Uncond,
    adm512,
  ],
  build: (config) => new ADMUNet(config),
  attention: ['*.qkv', '*.proj_out'],
  upgrade,
  signature,
  sized: sizedUNet,
  references: [
    {
      library: 'guided-diffusion',
      className: 'UNetModel',
      config: fromGuidedDiffusion,
      inputs: { x: 'x', time: 'timesteps', labels: 'y' },
      output: 'out',
    },
  ],
};

/** ADM's upsampler. */
export const admUpsampler: DenoiserArchitecture<SuperResolutionUNet> = {
  kind: 'denoiser',
  name: 'SuperResolutionUNet',
  package: '@mezzotint/unet',
  about: 'Upsampler of ADM, which sees a low-resolution image (Dhariwal and Nichol 2021)',
  time: 'timestep',
  presets: [iddpm64To256Upsampler, adm64To256Upsampler, adm128To512Upsampler, smallUpsampler64],
  build: (config) => new SuperResolutionUNet(config),
  attention: ['*.qkv', '*.proj_out'],
  signature(config) {
    const { imageSize, inChannels } = config;
    const { conditions, ...unet } = signature(config);
    // A low-resolution image of any size is taken; the published models have a quarter of the pixels a side.
    const lowRes = { shape: [imageSize / 4, imageSize / 4, inChannels].map(Math.ceil) };
    const told = config.lowResTime ? { lowResTime: { shape: [] } } : {};
    return { ...unet, conditions: { ...conditions, lowRes, ...told } };
  },
  // Our own are told how noisy the low-resolution image is.
  sized: (size, data) => ({ ...sizedUNet(size, data), lowResTime: true }),
  references: [
    {
      library: 'guided-diffusion',
      className: 'SuperResModel',
      config: fromGuidedDiffusion,
      inputs: { x: 'x', time: 'timesteps', labels: 'y', lowRes: 'low_res' },
      output: 'out',
    },
  ],
};

/** ADM's noisy classifier. */
export const noisyClassifier: ClassifierArchitecture<NoisyClassifier> = {
  kind: 'classifier',
  name: 'NoisyClassifier',
  package: '@mezzotint/unet',
  about: "Classifier of noisy images, ADM's encoder with a pooling head (Dhariwal and Nichol 2021)",
  time: 'timestep',
  presets: [digitsClassifier, admClassifier64, admClassifier128, admClassifier256, admClassifier512],
  build: (config) => new NoisyClassifier(config),
  upgrade: renamed,
  signature: (config) => ({
    imageSize: config.imageSize,
    sizeMultiple: config.pool === 'attention' ? null : totalDownsampling(config),
    inChannels: config.inChannels,
    classes: config.classes,
  }),
  sized: (size, data) => ({
    ...sizedEncoder(size, data),
    dropout: 0.1,
    pool: 'attention',
    classes: data.classes ?? 0, // The class refuses 0: a classifier of images without labels cannot be.
  }),
  references: [
    {
      library: 'guided-diffusion',
      className: 'EncoderUNetModel',
      config: classifierFromGuidedDiffusion,
      inputs: { x: 'x', time: 'timesteps' },
      output: 'logits',
    },
  ],
};

/** Settings by the names that they have today. */
function renamed(config: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { attentionFactors, ...rest } = config;
  return attentionFactors === undefined ? config : { attentionResolutions: attentionFactors, ...rest };
}

/** Until version 1 of the format, `classes` counted the null label, which every model of ours had. */
function upgrade(config: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { classes } = config;
  if ('nullLabel' in config) return renamed(config);
  return typeof classes === 'number'
    ? { ...renamed(config), classes: classes - 1, nullLabel: true }
    : { ...renamed(config), nullLabel: false };
}

function signature(config: ADMUNetConfig): NetworkSignature {
  const { imageSize, inChannels, outChannels, classes, nullLabel } = config;
  const labels = { classes, nullLabel };
  return {
    ...{ imageSize, inChannels, outChannels, ...labels },
    sizeMultiple: totalDownsampling(config),
    conditions: labelCondition(labels),
  };
}

/** Channel multiples by number of levels: those of ADM (appendix I), and of DDPM where there are fewer. */
const multiples: readonly (readonly number[])[] = [
  [1],
  [1, 2],
  [1, 2, 2],
  [1, 2, 3, 4],
  [1, 1, 2, 3, 4],
  [1, 1, 2, 2, 4, 4],
  [0.5, 1, 1, 2, 2, 4, 4],
];

/** Widths of the sizes; the large one is that of ADM at 64x64. */
const widths = {
  small: { modelChannels: 32, resBlocks: 1, heads: { channels: 32 }, groups: 16 },
  medium: { modelChannels: 128, resBlocks: 2, heads: { channels: 64 }, groups: 32 },
  large: { modelChannels: 192, resBlocks: 3, heads: { channels: 64 }, groups: 32 },
} as const;

/** Levels down to 8 pixels a side or fewer, with attention at 16 pixels and below, as far as the side can be halved. */
function sizedEncoder(size: ModelSize, { imageSize, channels }: DataShape): EncoderConfig {
  const factors = [1];
  for (let side = imageSize; side > 8 && side % 2 === 0 && factors.length < multiples.length; side /= 2) {
    factors.push(2 * factors.at(-1)!);
  }
  return {
    ...widths[size],
    imageSize,
    inChannels: channels,
    channelMult: multiples[factors.length - 1]!,
    attentionResolutions: factors.filter((factor) => imageSize / factor <= 16),
    attentionOrder: 'new',
    timeConditioning: 'scale-shift',
    resampling: 'residual',
    dropout: 0,
  };
}

function sizedUNet(size: ModelSize, data: DataShape): ADMUNetConfig {
  const { channels, classes, learnedVariance = false } = data;
  const encoder = sizedEncoder(size, data);
  return {
    ...encoder,
    outChannels: learnedVariance ? 2 * channels : channels,
    headsUp: encoder.heads,
    classes,
    nullLabel: classes !== null,
  };
}
