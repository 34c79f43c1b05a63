import type { Preset } from '@mezzotint/core';
import { ZigMa } from './zigma.js';
import { type ZigMaConfig, zigmaFromOriginal } from './zigma-config.js';

/** Width and depth. Hu et al. 2024; the original's functions `zigma_s_1` and so on. */
const sizes = { S: [368, 24], B: [768, 24], M: [768, 48], L: [1024, 48], H: [1536, 48] } as const;

/** 32x32 latent images of 4 channels, as in the paper's 256x256. */
const latent = { img_dim: 32, in_channels: 4, use_pe: 2, scan_type: 'zigzagN8' };

/** ZigMa with 8 zigzag paths and learned positions, unconditional, in five sizes and patches of 1, 2 and 4. */
export const zigmaS1 = sized('S', 1);
export const zigmaS2 = sized('S', 2);
export const zigmaS4 = sized('S', 4);
export const zigmaB1 = sized('B', 1);
export const zigmaB2 = sized('B', 2);
export const zigmaB4 = sized('B', 4);
export const zigmaM1 = sized('M', 1);
export const zigmaM2 = sized('M', 2);
export const zigmaM4 = sized('M', 4);
export const zigmaL1 = sized('L', 1);
export const zigmaL2 = sized('L', 2);
export const zigmaL4 = sized('L', 4);
export const zigmaH1 = sized('H', 1);
export const zigmaH2 = sized('H', 2);
export const zigmaH4 = sized('H', 4);
/** The paper's baseline with the same widths: both directions of the rows, each with its weights. */
export const zigmaB1Bidirectional = preset('zigma-b-1-bidirectional', 'ZigMa-B/1 (sweep-2), 256x256, latent', {
  ...zigmaFromOriginal({ ...latent, scan_type: 'v2', embed_dim: 768, depth: 24 }),
});
/** ZigMa-B/1 of MS-COCO with 77 tokens of CLIP-L. */
export const zigmaB1Coco = preset('zigma-b-1-coco', 'ZigMa-B/1, MS-COCO 256x256, text to image, latent', {
  ...zigmaFromOriginal({ ...latent, embed_dim: 768, depth: 24, has_text: true, n_context_token: 77, d_context: 768 }),
});
/** ZigMa-B/2 of faces and landscapes of 1024x1024 (128x128 latent images), without positions. */
export const zigmaB2At1024 = preset('zigma-b-2-1024', 'ZigMa-B/2, 1024x1024, unconditional, latent', {
  ...zigmaFromOriginal({ ...latent, img_dim: 128, patch_size: 2, embed_dim: 768, depth: 24, use_pe: 0 }),
});

/** Every preset of this package. */
export const presets: readonly Preset<ZigMa>[] = [
  ...[zigmaS1, zigmaS2, zigmaS4, zigmaB1, zigmaB2, zigmaB4, zigmaM1, zigmaM2, zigmaM4],
  ...[zigmaL1, zigmaL2, zigmaL4, zigmaH1, zigmaH2, zigmaH4],
  ...[zigmaB1Bidirectional, zigmaB1Coco, zigmaB2At1024],
];

function sized(size: keyof typeof sizes, patchSize: 1 | 2 | 4): Preset<ZigMa> {
  const [embed_dim, depth] = sizes[size];
  const config = zigmaFromOriginal({ ...latent, embed_dim, depth, patch_size: patchSize });
  const name = `zigma-${size.toLowerCase()}-${patchSize}`;
  return preset(name, `ZigMa-${size}/${patchSize}, 256x256, unconditional, latent`, config);
}

function preset(name: string, about: string, config: ZigMaConfig): Preset<ZigMa> {
  const { imageSize, inChannels, context } = config;
  return {
    name,
    about: `${about} (Hu et al. 2024)`,
    config,
    build: () => new ZigMa(config),
    inputs: () => [
      { shape: [1, imageSize, imageSize, inChannels] },
      { shape: [1] },
      ...(context === null ? [] : [{ context: { shape: [1, context.tokens, context.width] } }]),
    ],
  };
}
