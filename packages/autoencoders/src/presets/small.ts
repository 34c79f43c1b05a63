import type { Preset } from '@mezzotint/core';
import { Autoencoder } from '../autoencoder.js';
import { AutoencoderKL } from '../autoencoder-kl.js';
import { VQModel } from '../vq/vq-model.js';

/** What our two networks for 28x28 digits share: f = 4, so a latent image is 7x7. */
const shared = {
  inChannels: 1,
  outChannels: 1,
  blockChannels: [16, 32, 32],
  layersPerBlock: 1,
  groups: 8,
  midAttention: true,
  latentChannels: 4,
} as const;

const scale = { scalingFactor: 1, shiftFactor: 0 } as const;
const vaeConfig = { ...shared, ...scale, quantConv: true, postQuantConv: true } as const;
const vqConfig = { ...shared, ...scale, codes: 64, codeWidth: 4 } as const;

const inputs = () => [{ shape: [1, 28, 28, 1] }];

/** A small plain autoencoder for 28x28 digits. */
export const digitsAutoencoder: Preset<Autoencoder> = {
  name: 'digits-autoencoder',
  about: 'Small plain autoencoder of our own for 28x28 grey digits; latent images 7x7x4',
  config: shared,
  build: () => new Autoencoder(shared),
  inputs,
};

/** A small KL autoencoder for 28x28 digits. */
export const digitsVae: Preset<AutoencoderKL> = {
  name: 'digits-vae',
  about: 'Small KL autoencoder of our own for 28x28 grey digits; latent images 7x7x4',
  config: vaeConfig,
  build: () => new AutoencoderKL(vaeConfig),
  inputs,
};

/** A small VQ autoencoder for 28x28 digits. */
export const digitsVq: Preset<VQModel> = {
  name: 'digits-vq',
  about: 'Small VQ autoencoder of our own for 28x28 grey digits; 7x7 of 64 codes',
  config: vqConfig,
  build: () => new VQModel(vqConfig),
  inputs,
};

/**
 * A small KL autoencoder for pictures of 64x64, of which a small latent model makes 16x16x4. Its scale is 1: who trains on
 * its latents measures theirs.
 */
const emojiConfig = {
  inChannels: 3,
  outChannels: 3,
  blockChannels: [16, 32, 64],
  layersPerBlock: 1,
  groups: 8,
  midAttention: true,
  latentChannels: 4,
  ...scale,
  quantConv: true,
  postQuantConv: true,
} as const;

/** A small KL autoencoder for 64x64 emoji. */
export const emojiVae: Preset<AutoencoderKL> = {
  name: 'emoji-vae',
  about: 'Small KL autoencoder of our own for 64x64 colour pictures such as emoji; latent images 16x16x4',
  config: emojiConfig,
  build: () => new AutoencoderKL(emojiConfig),
  inputs: () => [{ shape: [1, 64, 64, 3] }],
};
