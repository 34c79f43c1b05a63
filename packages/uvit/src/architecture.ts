import { type DenoiserArchitecture, labelOrTextData, labelOrTextSignature } from '@mezzotint/core';
import { presets } from './presets.js';
import { UViT } from './uvit.js';
import { type UViTConfig, uvitFromOriginal, uvitFromShapes } from './uvit-config.js';

/** What `small`, `medium` and `large` are; the latter two are U-ViT-S and U-ViT-M. Bao et al. 2022, table 1. */
const sizes = {
  small: { width: 256, depth: 8, heads: 4 },
  medium: { width: 512, depth: 12, heads: 8 },
  large: { width: 768, depth: 16, heads: 12 },
} as const;

/** U-ViT as the apps and tools see it. */
export const uvit: DenoiserArchitecture<UViT> = {
  kind: 'denoiser',
  name: 'UViT',
  package: '@mezzotint/uvit',
  about: 'Transformer with long skip connections, everything a token (Bao et al. 2022)',
  time: 'timestep',
  presets,
  build: (config) => new UViT(config),
  signature: labelOrTextSignature,
  sized: (size, data): UViTConfig => ({ ...uvitFromOriginal({}), ...sizes[size], ...labelOrTextData('UViT', data) }),
  fromShapes: uvitFromShapes,
  references: [{ library: 'U-ViT', className: 'UViT', config: uvitFromOriginal }],
};

/** Every architecture of this package. */
export const architectures = [uvit] as const;
