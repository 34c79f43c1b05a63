import { type DenoiserArchitecture, labelOrTextData, labelOrTextSignature } from '@mezzotint/core';
import { presets, zigmaS1 } from './presets.js';
import { ZigMa } from './zigma.js';
import { type ZigMaConfig, zigmaFromOriginal, zigmaFromShapes } from './zigma-config.js';

/** What `small`, `medium` and `large` are; the last is ZigMa-B. */
const sizes = {
  small: { width: 192, depth: 8 },
  medium: { width: 384, depth: 16 },
  large: { width: 768, depth: 24 },
} as const;

/** ZigMa as the apps and tools see it. The published files count time from noise to data; see the package's README. */
export const zigma: DenoiserArchitecture<ZigMa> = {
  kind: 'denoiser',
  name: 'ZigMa',
  package: '@mezzotint/zigma',
  about: 'State-space (Mamba) denoiser with zigzag scans (Hu et al. 2024)',
  time: 'unit',
  presets,
  build: (config) => new ZigMa(config),
  attention: ['*.mixer.*'],
  signature: labelOrTextSignature,
  sized: (size, data): ZigMaConfig => ({ ...zigmaS1.config, ...sizes[size], ...labelOrTextData('ZigMa', data) }),
  fromShapes: zigmaFromShapes,
  references: [{ library: 'zigma', className: 'ZigMa', config: zigmaFromOriginal }],
};

/** Every architecture of this package. */
export const architectures = [zigma] as const;
