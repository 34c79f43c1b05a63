import { type DenoiserArchitecture, labelCondition, sizedPatch } from '@mezzotint/core';
import { DiT } from './dit.js';
import { type DiTConfig, ditFromDiffusers, ditFromOriginal } from './dit-config.js';
import { ditFromShapes } from './from-shapes.js';
import {
  ditB2,
  ditB4,
  ditB8,
  ditL2,
  ditL4,
  ditL8,
  ditS2,
  ditS4,
  ditS8,
  ditXl2,
  ditXl2At512,
  ditXl4,
  ditXl8,
} from './presets/dit.js';

/** What `small`, `medium` and `large` are: 7, 33 (DiT-S) and 130 (DiT-B) million parameters. */
const sizes = {
  small: { depth: 6, width: 256, heads: 4 },
  medium: { depth: 12, width: 384, heads: 6 },
  large: { depth: 12, width: 768, heads: 12 },
} as const;

/** DiT as the apps and tools see it. */
export const dit: DenoiserArchitecture<DiT> = {
  kind: 'denoiser',
  name: 'DiT',
  package: '@mezzotint/dit',
  about: 'Diffusion transformer with adaLN-Zero (Peebles and Xie 2022)',
  time: 'timestep',
  presets: [ditS8, ditS4, ditS2, ditB8, ditB4, ditB2, ditL8, ditL4, ditL2, ditXl8, ditXl4, ditXl2, ditXl2At512],
  build: (config) => new DiT(config),
  signature: ({ imageSize, patchSize, inChannels, outChannels, classes, nullLabel, otherSizes }) => ({
    imageSize,
    sizeMultiple: otherSizes === 'stretched' ? patchSize : null,
    inChannels,
    outChannels,
    classes,
    nullLabel,
    conditions: labelCondition({ classes, nullLabel }),
  }),
  sized(size, { imageSize, channels, classes, learnedVariance = false }): DiTConfig {
    const patchSize = sizedPatch('DiT', imageSize);
    return {
      ...ditFromOriginal({}),
      ...sizes[size],
      imageSize,
      patchSize,
      inChannels: channels,
      outChannels: learnedVariance ? 2 * channels : channels,
      classes,
      nullLabel: classes !== null,
    };
  },
  fromShapes: (tensors) => ditFromShapes(tensors),
  references: [
    {
      library: 'DiT',
      className: 'DiT',
      config: ditFromOriginal,
      inputs: { x: 'x', time: 't', labels: 'y' },
      output: 'out',
    },
    {
      library: 'diffusers',
      className: 'DiTTransformer2DModel',
      config: ditFromDiffusers,
      inputs: { x: 'hidden_states', time: 'timestep', labels: 'class_labels' },
      output: 'sample',
    },
  ],
};

/** Every architecture of this package. */
export const architectures = [dit] as const;

/** Every preset of this package. */
export const { presets } = dit;
