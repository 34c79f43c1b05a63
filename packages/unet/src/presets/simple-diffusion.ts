import { forwardInputs, labelCondition, type Preset } from '@mezzotint/core';
import { SimpleDiffusionUViT } from '../simple-diffusion.js';
import type { SimpleDiffusionUViTConfig } from '../simple-diffusion-config.js';

/** The published "U-ViT, L" of 2 B parameters: a transformer of 36 blocks of width 2048 over 16x16 tokens. */
const large = {
  inChannels: 3,
  downsampling: 'patches',
  levels: [
    { channels: 128, blocks: 2, dropout: 0 },
    { channels: 256, blocks: 2, dropout: 0 },
    { channels: 512, blocks: 2, dropout: 0 },
  ],
  width: 2048,
  depth: 36,
  headWidth: 128,
  mlpRatio: 4,
  dropout: 0.1,
  embeddingWidth: 1024,
  groups: 32,
  classes: 1000,
  nullLabel: false,
} as const;

/** ImageNet 128x128 in pixels. */
export const simpleDiffusionUViT128 = preset(128, 1, 0.2);
/** ImageNet 256x256 in pixels. */
export const simpleDiffusionUViT256 = preset(256, 2, 0.1);
/** ImageNet 512x512 in pixels: simple diffusion's "U-ViT, L" and VDM++, 2,455 M parameters. */
export const simpleDiffusionUViT512 = preset(512, 4, 0.1);

function preset(imageSize: number, patchSize: number, dropout: number): Preset<SimpleDiffusionUViT> {
  const config: SimpleDiffusionUViTConfig = { ...large, imageSize, patchSize, dropout };
  return {
    name: `simple-diffusion-uvit-${imageSize}`,
    about: `Simple diffusion's U-ViT, L, also VDM++'s, ImageNet ${imageSize}x${imageSize} in pixels, class-conditional (Hoogeboom et al. 2023)`,
    config,
    build: () => new SimpleDiffusionUViT(config),
    inputs: () => forwardInputs({ inChannels: 3, conditions: labelCondition(config) }, imageSize),
  };
}
