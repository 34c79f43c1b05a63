import { type DenoiserArchitecture, InvalidArgumentError, labelCondition, sizedPatch } from '@mezzotint/core';
import { presets, zigmaS1 } from './presets.js';
import { ZigMa } from './zigma.js';
import { type ZigMaConfig, zigmaFromOriginal, zigmaFromShapes } from './zigma-config.js';

/** What `small`, `medium` and `large` are; the last is ZigMa-B. */
const sizes = {
  small: { width: 192, depth: 8 },
  medium: { width: 384, depth: 16 },
  large: { width: 768, depth: 24 },
} as const;

/** Tokens of a text where nothing says: CLIP's. */
const textTokens = 77;

/** ZigMa as the apps and tools see it. The published files count time from noise to data; see the package's README. */
export const zigma: DenoiserArchitecture<ZigMa> = {
  kind: 'denoiser',
  name: 'ZigMa',
  package: '@mezzotint/zigma',
  about: 'State-space (Mamba) denoiser with zigzag scans (Hu et al. 2024)',
  time: 'unit',
  presets,
  build: (config) => new ZigMa(config),
  signature({ imageSize, inChannels, classes, nullLabel, context }) {
    const text = context && { context: { shape: [context.tokens, context.width], none: 'empty-prompt' as const } };
    return {
      ...{ imageSize, inChannels, outChannels: inChannels, classes, nullLabel },
      sizeMultiple: null,
      conditions: { ...labelCondition({ classes, nullLabel }), ...text },
    };
  },
  sized(size, { imageSize, channels, classes: labels, contextWidth, contextTokens, learnedVariance }): ZigMaConfig {
    if (learnedVariance) throw new InvalidArgumentError('ZigMa', 'has no channels for a learned variance');
    // A ZigMa has labels or text, and text says more.
    const classes = contextWidth === undefined ? labels : null;
    const patchSize = sizedPatch(imageSize);
    return {
      ...zigmaS1.config,
      ...sizes[size],
      ...{ imageSize, patchSize, inChannels: channels, classes, nullLabel: classes !== null },
      context: contextWidth === undefined ? null : { tokens: contextTokens ?? textTokens, width: contextWidth },
    };
  },
  fromShapes: zigmaFromShapes,
  references: [{ library: 'zigma', className: 'ZigMa', config: zigmaFromOriginal }],
};

/** Every architecture of this package. */
export const architectures = [zigma] as const;
