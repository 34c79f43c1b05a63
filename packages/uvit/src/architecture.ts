import { type DenoiserArchitecture, InvalidArgumentError, labelCondition, sizedPatch } from '@mezzotint/core';
import { presets } from './presets.js';
import { UViT } from './uvit.js';
import { type UViTConfig, uvitFromOriginal, uvitFromShapes } from './uvit-config.js';

/** What `small`, `medium` and `large` are; the latter two are U-ViT-S and U-ViT-M. Bao et al. 2022, table 1. */
const sizes = {
  small: { width: 256, depth: 8, heads: 4 },
  medium: { width: 512, depth: 12, heads: 8 },
  large: { width: 768, depth: 16, heads: 12 },
} as const;

/** Tokens of a text where nothing says: CLIP's. */
const textTokens = 77;

/** U-ViT as the apps and tools see it. */
export const uvit: DenoiserArchitecture<UViT> = {
  kind: 'denoiser',
  name: 'UViT',
  package: '@mezzotint/uvit',
  about: 'Transformer with long skip connections, everything a token (Bao et al. 2022)',
  time: 'timestep',
  presets,
  build: (config) => new UViT(config),
  signature({ imageSize, inChannels, classes, nullLabel, context }) {
    const text = context && { context: { shape: [context.tokens, context.width], none: 'empty-prompt' as const } };
    return {
      ...{ imageSize, inChannels, outChannels: inChannels, classes, nullLabel },
      sizeMultiple: null,
      conditions: { ...labelCondition({ classes, nullLabel }), ...text },
    };
  },
  sized(size, { imageSize, channels, classes: labels, contextWidth, contextTokens, learnedVariance }): UViTConfig {
    if (learnedVariance) throw new InvalidArgumentError('UViT', 'has no channels for a learned variance');
    // A U-ViT has labels or text, and text says more.
    const classes = contextWidth === undefined ? labels : null;
    const patchSize = sizedPatch(imageSize);
    return {
      ...uvitFromOriginal({}),
      ...sizes[size],
      ...{ imageSize, patchSize, inChannels: channels, classes, nullLabel: classes !== null },
      context: contextWidth === undefined ? null : { tokens: contextTokens ?? textTokens, width: contextWidth },
    };
  },
  fromShapes: uvitFromShapes,
  references: [{ library: 'U-ViT', className: 'UViT', config: uvitFromOriginal }],
};

/** Every architecture of this package. */
export const architectures = [uvit] as const;
