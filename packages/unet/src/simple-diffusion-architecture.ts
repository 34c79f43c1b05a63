import { type DenoiserArchitecture, InvalidArgumentError, labelCondition, sizedPatch, throwIf } from '@mezzotint/core';
import { simpleDiffusionUViT128, simpleDiffusionUViT256, simpleDiffusionUViT512 } from './presets/simple-diffusion.js';
import { SimpleDiffusionUViT } from './simple-diffusion.js';
import type { SimpleDiffusionUViTConfig } from './simple-diffusion-config.js';

/** Channels of each level, and width and depth of the transformer, of `small`, `medium` and `large`. */
const sizes = {
  small: { channels: [32, 64], width: 256, depth: 6, headWidth: 64, embeddingWidth: 256 },
  medium: { channels: [64, 128], width: 512, depth: 12, headWidth: 64, embeddingWidth: 512 },
  large: { channels: [128, 256], width: 1024, depth: 24, headWidth: 128, embeddingWidth: 1024 },
} as const;

/** Most tokens a side of a sized network's transformer. */
const mostTokens = 16;

/** Simple diffusion's U-ViT as the apps and tools see it. */
export const simpleDiffusionUViT: DenoiserArchitecture<SimpleDiffusionUViT> = {
  kind: 'denoiser',
  name: 'SimpleDiffusionUViT',
  package: '@mezzotint/unet',
  about: 'UNet levels around a transformer, not Bao et al.’s U-ViT (Hoogeboom et al. 2023; VDM++, Kingma and Gao 2023)',
  time: 'log-snr',
  presets: [simpleDiffusionUViT128, simpleDiffusionUViT256, simpleDiffusionUViT512],
  build: (config) => new SimpleDiffusionUViT(config),
  attention: ['*.qkv', '*.proj'],
  // Configurations from before there were wavelets.
  upgrade: (config) => ({ downsampling: 'patches', ...config }),
  signature({ imageSize, inChannels, classes, nullLabel }) {
    return {
      ...{ imageSize, inChannels, outChannels: inChannels, classes, nullLabel },
      sizeMultiple: null,
      conditions: labelCondition({ classes, nullLabel }),
    };
  },
  sized(size, { imageSize, channels, classes, contextWidth, learnedVariance }): SimpleDiffusionUViTConfig {
    if (learnedVariance)
      throw new InvalidArgumentError('SimpleDiffusionUViT', 'has no channels for a learned variance');
    throwIf('SimpleDiffusionUViT', contextWidth === undefined ? [] : ['takes no text']);
    const { channels: widths, ...transformer } = sizes[size];
    // As many levels as halve the sides evenly, and then patches that leave the transformer few enough tokens.
    const levels = widths.filter((_, i) => imageSize % 2 ** (i + 1) === 0);
    if (levels.length === 0)
      throw new InvalidArgumentError('SimpleDiffusionUViT', `expected an even imageSize, got ${imageSize}`);
    const pixels = 2 ** levels.length;
    const patchSize = sizedPatch('SimpleDiffusionUViT', imageSize / pixels, { most: mostTokens, pixels });
    return {
      ...simpleDiffusionUViT256.config,
      ...transformer,
      ...{ imageSize, inChannels: channels, patchSize, classes, nullLabel: classes !== null },
      levels: levels.map((channels) => ({ channels, blocks: 2, dropout: 0 })),
    };
  },
};
