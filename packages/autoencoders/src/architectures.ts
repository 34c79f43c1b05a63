import type { DataShape, ModelSize, OtherArchitecture, Preset } from '@mezzotint/core';
import { Autoencoder } from './autoencoder.js';
import { AutoencoderKL, autoencoderKLFromDiffusers } from './autoencoder-kl.js';
import type { CoderConfig } from './coder/config.js';
import { vaeFlux, vaeSd, vaeSd3, vaeSdxl } from './presets/kl.js';
import { digitsAutoencoder, digitsVae, digitsVq, emojiVae } from './presets/small.js';
import { taesd, taesd3 } from './presets/tiny.js';
import { AutoencoderTiny, autoencoderTinyFromDiffusers } from './tiny/autoencoder-tiny.js';
import { VQModel, vqModelFromDiffusers } from './vq/vq-model.js';

const shared = { kind: 'autoencoder', package: '@mezzotint/autoencoders' } as const;

/** The KL autoencoder of latent diffusion. */
export const autoencoderKL: OtherArchitecture<AutoencoderKL> = {
  ...shared,
  name: 'AutoencoderKL',
  about: 'KL autoencoder of latent diffusion (Rombach et al. 2022)',
  presets: [digitsVae, emojiVae, vaeSd, vaeSdxl, vaeSd3, vaeFlux],
  build: (config) => new AutoencoderKL(config),
  sized: (size, data) => ({ ...sizedCoder(size, data), ...unitScale, quantConv: true, postQuantConv: true }),
  references: [{ library: 'diffusers', className: 'AutoencoderKL', config: autoencoderKLFromDiffusers }],
};

/** The autoencoder without a term on its latent images. */
export const autoencoder: OtherArchitecture<Autoencoder> = {
  ...shared,
  name: 'Autoencoder',
  about: 'Plain autoencoder with the coders of latent diffusion',
  presets: [digitsAutoencoder],
  build: (config) => new Autoencoder(config),
  sized: sizedCoder,
};

/** The autoencoder with a codebook. */
export const vqModel: OtherArchitecture<VQModel> = {
  ...shared,
  name: 'VQModel',
  about: 'Autoencoder with a codebook (van den Oord et al. 2017; Esser et al. 2021)',
  presets: [digitsVq],
  build: (config) => new VQModel(config),
  sized: (size, data) => ({ ...sizedCoder(size, data), ...unitScale, codes: 1024, codeWidth: 4 }),
  references: [{ library: 'diffusers', className: 'VQModel', config: vqModelFromDiffusers }],
};

/** The tiny autoencoder. */
export const autoencoderTiny: OtherArchitecture<AutoencoderTiny> = {
  ...shared,
  name: 'AutoencoderTiny',
  about: 'Tiny autoencoder for previews of latent images (Bohan 2023)',
  presets: [taesd, taesd3],
  build: (config) => new AutoencoderTiny(config),
  references: [{ library: 'diffusers', className: 'AutoencoderTiny', config: autoencoderTinyFromDiffusers }],
};

/** Every architecture of this package. */
export const architectures = [autoencoderKL, autoencoder, vqModel, autoencoderTiny] as const;

/** Every preset of this package. */
export const presets: readonly Preset<AutoencoderKL | Autoencoder | VQModel | AutoencoderTiny>[] =
  architectures.flatMap(
    ({ presets }): readonly Preset<AutoencoderKL | Autoencoder | VQModel | AutoencoderTiny>[] => presets,
  );

/** The latent image as it is; training measures its scale. */
const unitScale = { scalingFactor: 1, shiftFactor: 0 } as const;

/** Widths of the sizes at f = 4; the large one steps down once more, as Stable Diffusion's (f = 8). */
const widths = {
  small: { blockChannels: [32, 64, 64], layersPerBlock: 1 },
  medium: { blockChannels: [64, 128, 256], layersPerBlock: 2 },
  large: { blockChannels: [128, 256, 512, 512], layersPerBlock: 2 },
} as const;

/** As many levels of the size as the side can be halved for. */
function sizedCoder(size: ModelSize, { imageSize, channels }: DataShape): CoderConfig {
  const { blockChannels, layersPerBlock } = widths[size];
  const levels = blockChannels.filter((_, level) => imageSize % 2 ** level === 0);
  return {
    ...{ inChannels: channels, outChannels: channels, blockChannels: levels, layersPerBlock },
    ...{ latentChannels: 4, groups: 32, midAttention: true },
  };
}
