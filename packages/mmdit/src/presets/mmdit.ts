import type { Preset } from '@mezzotint/core';
import { MMDiT } from '../mmdit.js';
import type { MMDiTConfig } from '../mmdit-config.js';

/** What all of the paper's sizes share; depth d has width 64 d and d heads. Esser et al. 2024, section 4. */
function sized(depth: number): MMDiTConfig {
  return {
    patchSize: 2,
    inChannels: 16,
    outChannels: 16,
    depth,
    width: 64 * depth,
    heads: depth,
    mlpRatio: 4,
    contextWidth: 4096,
    pooledWidth: 2048,
    qkNorm: 'none',
    dualAttentionLayers: [],
    positionGrid: 192,
    positionBase: 64,
  };
}

/** Stable Diffusion 3 medium (2 billion parameters). */
export const sd3Medium = preset('sd3-medium', 'Stable Diffusion 3 medium', sized(24), 154);
/** Stable Diffusion 3.5 medium: MM-DiT-X, whose first 13 blocks have a second attention. */
export const sd35Medium = preset(
  'sd3.5-medium',
  'Stable Diffusion 3.5 medium (MM-DiT-X)',
  { ...sized(24), qkNorm: 'rms', dualAttentionLayers: Array.from({ length: 13 }, (_, n) => n), positionGrid: 384 },
  333,
);
/** Stable Diffusion 3.5 large (8 billion parameters). */
export const sd35Large = preset('sd3.5-large', 'Stable Diffusion 3.5 large', { ...sized(38), qkNorm: 'rms' }, 333);

/** Sizes of the paper's scaling study (figure 8), by depth. */
export const mmdit15 = scaling(15);
export const mmdit18 = scaling(18);
export const mmdit21 = scaling(21);
export const mmdit30 = scaling(30);
export const mmdit38 = scaling(38);

function scaling(depth: number): Preset<MMDiT> {
  return preset(
    `mmdit-${depth}`,
    `MM-DiT of depth ${depth}, a size of the SD3 paper's scaling study`,
    sized(depth),
    154,
  );
}

function preset(name: string, about: string, config: MMDiTConfig, tokens: number): Preset<MMDiT> {
  return {
    name,
    about: `${about}, 1024x1024 (Esser et al. 2024)`,
    config,
    build: () => new MMDiT(config),
    inputs: () => [
      { shape: [1, 128, 128, config.inChannels] },
      { shape: [1] },
      { context: { shape: [1, tokens, config.contextWidth] }, pooled: { shape: [1, config.pooledWidth] } },
    ],
  };
}
