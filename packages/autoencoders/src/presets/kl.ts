import type { Preset } from '@mezzotint/core';
import { AutoencoderKL, type AutoencoderKLConfig } from '../autoencoder-kl.js';

/** The network of all published ones, with f = 8. */
const kl8 = {
  inChannels: 3,
  outChannels: 3,
  blockChannels: [128, 256, 512, 512],
  layersPerBlock: 2,
  groups: 32,
  midAttention: true,
} as const;

const four = { ...kl8, latentChannels: 4, quantConv: true, postQuantConv: true, shiftFactor: 0 } as const;
const sixteen = { ...kl8, latentChannels: 16, quantConv: false, postQuantConv: false } as const;

function preset(name: string, about: string, size: number, config: AutoencoderKLConfig): Preset<AutoencoderKL> {
  return { name, about, config, build: () => new AutoencoderKL(config), inputs: () => [{ shape: [1, size, size, 3] }] };
}

/** The autoencoder of Stable Diffusion 1 and 2. */
export const vaeSd = preset(
  'vae-sd',
  'KL autoencoder of Stable Diffusion 1 and 2, 512x512 (Rombach et al. 2022)',
  512,
  {
    ...four,
    scalingFactor: 0.18215,
  },
);

/** The autoencoder of Stable Diffusion XL. */
export const vaeSdxl = preset(
  'vae-sdxl',
  'KL autoencoder of Stable Diffusion XL, 1024x1024 (Podell et al. 2023)',
  1024,
  { ...four, scalingFactor: 0.13025 },
);

/** The autoencoder of Stable Diffusion 3 and 3.5. */
export const vaeSd3 = preset(
  'vae-sd3',
  'KL autoencoder of Stable Diffusion 3 and 3.5, 16 channels, 1024x1024 (Esser et al. 2024)',
  1024,
  { ...sixteen, scalingFactor: 1.5305, shiftFactor: 0.0609 },
);

/** The autoencoder of FLUX.1. */
export const vaeFlux = preset('vae-flux', 'KL autoencoder of FLUX.1, 16 channels, 1024x1024', 1024, {
  ...sixteen,
  scalingFactor: 0.3611,
  shiftFactor: 0.1159,
});
