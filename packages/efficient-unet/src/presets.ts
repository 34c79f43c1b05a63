import type { InputSpec, Preset } from '@mezzotint/core';
import { EfficientUNet } from './efficient-unet.js';
import { type EfficientUNetConfig, efficientUNetFromImagenPytorch } from './efficient-unet-config.js';

/** T5-XXL's states, which Imagen was trained with. */
const text = { text_embed_dim: 4096 };
const efficient = {
  ...text,
  dim: 128,
  dim_mults: [1, 2, 4, 8],
  num_resnet_blocks: [2, 4, 8, 8],
  layer_cross_attns: [false, false, false, true],
  memory_efficient: true,
  lowres_cond: true,
};

/** Imagen's base model, 64x64. Saharia et al. 2022, appendix F.1; imagen-pytorch's `BaseUnet64`. */
export const imagenBase64 = preset(
  'imagen-base-64',
  'Imagen, base model 64x64',
  efficientUNetFromImagenPytorch({
    ...text,
    dim: 512,
    dim_mults: [1, 2, 3, 4],
    num_resnet_blocks: 3,
    layer_attns: [false, true, true, true],
    layer_cross_attns: [false, true, true, true],
  }),
);

/** Imagen's super-resolution from 64x64 to 256x256. Appendix F.2; imagen-pytorch's `SRUnet256`. */
export const imagenSR256 = preset(
  'imagen-sr-256',
  'Imagen, super-resolution 64x64 to 256x256, Efficient U-Net',
  efficientUNetFromImagenPytorch({ ...efficient, layer_attns: [false, false, false, true] }, { imageSize: 256 }),
);

/** Imagen's super-resolution from 256x256 to 1024x1024. Appendix F.3; imagen-pytorch's `SRUnet1024`. */
export const imagenSR1024 = preset(
  'imagen-sr-1024',
  'Imagen, super-resolution 256x256 to 1024x1024, Efficient U-Net',
  efficientUNetFromImagenPytorch({ ...efficient, layer_attns: false }, { imageSize: 1024 }),
);

/** Our own small base model, 16x16, for texts of width 256. */
export const imagenSmallBase16 = preset(
  'imagen-small-base-16',
  'Our small base model 16x16 in the form of Imagen',
  efficientUNetFromImagenPytorch(
    {
      ...{ dim: 64, text_embed_dim: 256, cond_dim: 128, dim_mults: [1, 2], num_resnet_blocks: 2, max_text_len: 32 },
      ...{ layer_attns: [false, true], layer_cross_attns: [false, true], attn_heads: 4, attn_dim_head: 32 },
      ...{ attn_pool_num_latents: 8, init_cross_embed_kernel_sizes: [3, 7] },
    },
    { imageSize: 16 },
  ),
);

/** Our own small super-resolution model, 16x16 to 64x64, for texts of width 256. */
export const imagenSmallSR64 = preset(
  'imagen-small-sr-64',
  'Our small super-resolution 16x16 to 64x64 in the form of Imagen, Efficient U-Net',
  efficientUNetFromImagenPytorch(
    {
      ...{ dim: 32, text_embed_dim: 256, cond_dim: 128, dim_mults: [1, 2, 4], num_resnet_blocks: [1, 2, 2] },
      ...{ layer_attns: false, layer_cross_attns: [false, false, true], attn_heads: 4, attn_dim_head: 32 },
      ...{ attn_pool_num_latents: 8, init_cross_embed_kernel_sizes: [3, 7], max_text_len: 32 },
      ...{ memory_efficient: true, lowres_cond: true, attend_at_middle: false },
    },
    { imageSize: 64 },
  ),
);

/** Every preset of this package. */
export const presets: readonly Preset<EfficientUNet>[] = [
  imagenSmallBase16,
  imagenSmallSR64,
  imagenBase64,
  imagenSR256,
  imagenSR1024,
];

function preset(name: string, about: string, config: EfficientUNetConfig): Preset<EfficientUNet> {
  const { imageSize, inChannels, text, lowRes } = config;
  const conditions: Record<string, InputSpec> = {
    ...(text !== null && { context: { shape: [1, text.maxTokens, text.width] } }),
    ...(text !== null && { contextMask: { shape: [1, text.maxTokens], dtype: 'int32' as const } }),
    ...(lowRes && { lowRes: { shape: [1, imageSize, imageSize, inChannels] }, lowResTime: { shape: [1] } }),
  };
  return {
    name,
    about: `${about} (Saharia et al. 2022)`,
    config,
    build: () => new EfficientUNet(config),
    inputs: () => [
      { shape: [1, imageSize, imageSize, inChannels] },
      { shape: [1] },
      ...(Object.keys(conditions).length > 0 ? [conditions] : []),
    ],
  };
}
