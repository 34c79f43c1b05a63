import { type DenoiserArchitecture, labelCondition } from '@mezzotint/core';
import { presets } from './presets.js';
import { RIN } from './rin.js';
import { rinFromOriginal } from './rin-config.js';

/** RIN as the apps and tools see it; `warmStarted` adds its latent self-conditioning to sampling. */
export const rin: DenoiserArchitecture<RIN> = {
  kind: 'denoiser',
  name: 'RIN',
  package: '@mezzotint/rin',
  about: 'Recurrent interface network (Jabri, Fleet and Chen 2022)',
  time: 'gamma',
  presets,
  build: (config) => new RIN(config),
  signature({ imageHeight, inChannels, classes }) {
    const labels = { classes, nullLabel: classes !== null };
    return {
      ...{ imageSize: imageHeight, inChannels, outChannels: inChannels, ...labels },
      sizeMultiple: null,
      conditions: labelCondition(labels),
    };
  },
  references: [{ library: 'pix2seq', className: 'TapeDenoiser', config: rinFromOriginal }],
};

/** Every architecture of this package. */
export const architectures = [rin] as const;
