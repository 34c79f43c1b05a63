import type { Preset } from '@mezzotint/core';
import { AutoencoderTiny, type AutoencoderTinyConfig } from '../tiny/autoencoder-tiny.js';

const taesdConfig: AutoencoderTinyConfig = {
  inChannels: 3,
  outChannels: 3,
  latentChannels: 4,
  encoderChannels: 64,
  decoderChannels: 64,
  encoderBlocks: [1, 3, 3, 3],
  decoderBlocks: [3, 3, 3, 1],
  latentMagnitude: 3,
  latentShift: 0.5,
  scalingFactor: 1,
  shiftFactor: 0,
};

/** The tiny autoencoder for the latent images of Stable Diffusion 1, 2 and (with other weights) XL. */
export const taesd: Preset<AutoencoderTiny> = {
  name: 'taesd',
  about: 'Tiny autoencoder for Stable Diffusion 1, 2 and XL, 512x512 (Bohan 2023)',
  config: taesdConfig,
  build: () => new AutoencoderTiny(taesdConfig),
  inputs: () => [{ shape: [1, 512, 512, 3] }],
};

const taesd3Config: AutoencoderTinyConfig = { ...taesdConfig, latentChannels: 16 };

/** The tiny autoencoder for the latent images of Stable Diffusion 3 and (with other weights) FLUX.1. */
export const taesd3: Preset<AutoencoderTiny> = {
  name: 'taesd3',
  about: 'Tiny autoencoder for Stable Diffusion 3 and FLUX.1, 16 channels, 1024x1024 (Bohan 2024)',
  config: taesd3Config,
  build: () => new AutoencoderTiny(taesd3Config),
  inputs: () => [{ shape: [1, 1024, 1024, 3] }],
};
