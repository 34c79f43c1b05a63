import type { Preset } from '@mezzotint/core';
import { DiT } from '../dit.js';
import { type DiTConfig, ditFromOriginal } from '../dit-config.js';

/** Depth, width and heads. Peebles and Xie 2022, table 1. */
const sizes = {
  S: { depth: 12, width: 384, heads: 6 },
  B: { depth: 12, width: 768, heads: 12 },
  L: { depth: 24, width: 1024, heads: 16 },
  XL: { depth: 28, width: 1152, heads: 16 },
} as const;

/** ImageNet 256x256 as 32x32 latent images of 4 channels, with learned variance. */
export const ditS8 = preset('S', 8);
export const ditS4 = preset('S', 4);
export const ditS2 = preset('S', 2);
export const ditB8 = preset('B', 8);
export const ditB4 = preset('B', 4);
export const ditB2 = preset('B', 2);
export const ditL8 = preset('L', 8);
export const ditL4 = preset('L', 4);
export const ditL2 = preset('L', 2);
export const ditXl8 = preset('XL', 8);
export const ditXl4 = preset('XL', 4);
/** DiT-XL/2 at 256x256, one of the two published checkpoints. */
export const ditXl2 = preset('XL', 2);
/** DiT-XL/2 at 512x512 (64x64 latent images), the other published checkpoint. */
export const ditXl2At512 = preset('XL', 2, 64);

function preset(size: keyof typeof sizes, patchSize: number, imageSize = 32): Preset<DiT> {
  const config: DiTConfig = { ...ditFromOriginal({}), ...sizes[size], patchSize, imageSize };
  const pixels = 8 * imageSize;
  return {
    name: `dit-${size.toLowerCase()}-${patchSize}${imageSize === 32 ? '' : `-${pixels}`}`,
    about: `DiT-${size}/${patchSize}, ImageNet ${pixels}x${pixels}, class-conditional (Peebles and Xie 2022)`,
    config,
    build: () => new DiT(config),
    inputs: () => [
      { shape: [1, imageSize, imageSize, config.inChannels] },
      { shape: [1] },
      { labels: { shape: [1], dtype: 'int32' } },
    ],
  };
}
