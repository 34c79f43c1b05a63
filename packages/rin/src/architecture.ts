import { type DenoiserArchitecture, labelCondition, sizedPatch, throwIf } from '@mezzotint/core';
import { presets, rinCifar10, rinImageNet64 } from './presets.js';
import { RIN } from './rin.js';
import { type RINConfig, rinFromOriginal } from './rin-config.js';
import { warmStarted } from './warm-start.js';

const { blocks, latentWidth, tokenWidth, readWriteHeads, tokenMlpRatio } = rinImageNet64.config;

/** What `small`, `medium` and `large` are; the latter two are the original's for CIFAR-10 and for ImageNet 64x64. */
const sizes = {
  small: {
    blocks: [2, 2],
    latents: 64,
    latentWidth: 256,
    latentHeads: 4,
    tokenWidth: 128,
    readWriteHeads: 4,
    dropPath: 0,
  },
  medium: {},
  large: { blocks, latentWidth, tokenWidth, readWriteHeads, tokenMlpRatio },
} as const;

/** RIN as the apps and tools see it; in a run of a sampler its latents go on from step to step. */
export const rin: DenoiserArchitecture<RIN> = {
  kind: 'denoiser',
  name: 'RIN',
  package: '@mezzotint/rin',
  about: 'Recurrent interface network (Jabri, Fleet and Chen 2022)',
  time: 'gamma',
  presets,
  build: (config) => new RIN(config),
  attention: ['*mha*'],
  signature({ imageHeight, inChannels, classes }) {
    const labels = { classes, nullLabel: classes !== null };
    return {
      ...{ imageSize: imageHeight, inChannels, outChannels: inChannels, ...labels },
      sizeMultiple: null,
      conditions: labelCondition(labels),
    };
  },
  sized(size, { imageSize, channels, classes, contextWidth, learnedVariance }): RINConfig {
    const problems = [
      ...(learnedVariance ? ['has no channels for a learned variance'] : []),
      ...(contextWidth === undefined ? [] : ['takes no text']),
    ];
    throwIf('RIN', problems);
    const patchSize = sizedPatch('RIN', imageSize);
    return {
      ...rinCifar10.config,
      ...sizes[size],
      ...{ imageHeight: imageSize, imageWidth: imageSize, patchSize, inChannels: channels, classes },
    };
  },
  startRun(model, options) {
    const { network, save, dispose } = warmStarted(model, options);
    return { forward: (x, gamma, { labels } = {}) => network(x, gamma, { ...(labels && { labels }) }), save, dispose };
  },
  references: [{ library: 'pix2seq', className: 'ImageTapeDenoiser', config: rinFromOriginal }],
};

/** Every architecture of this package. */
export const architectures = [rin] as const;
