import { type ConditionSpec, type DenoiserArchitecture, InvalidArgumentError } from '@mezzotint/core';
import { EfficientUNet } from './efficient-unet.js';
import { type EfficientUNetConfig, efficientUNetFromImagenPytorch, sizeMultiple } from './efficient-unet-config.js';
import { presets } from './presets.js';

/** What `small`, `medium` and `large` are. */
const sizes = {
  small: { dim: 32, num_resnet_blocks: 1, attn_heads: 4, attn_dim_head: 16, cond_dim: 64 },
  medium: { dim: 64, num_resnet_blocks: 2, attn_heads: 4, attn_dim_head: 32, cond_dim: 128 },
  large: { dim: 128, num_resnet_blocks: 3, attn_heads: 8, attn_dim_head: 64, cond_dim: 256 },
} as const;

/** Pixels a side of a sized network's coarsest level, and below. */
const coarsest = 8;

/** Imagen's networks as the apps and tools see them. */
export const efficientUNet: DenoiserArchitecture<EfficientUNet> = {
  kind: 'denoiser',
  name: 'EfficientUNet',
  package: '@mezzotint/efficient-unet',
  about: "Imagen's base U-Net and Efficient U-Net for super-resolution (Saharia et al. 2022)",
  time: 'log-snr',
  presets,
  build: (config) => new EfficientUNet(config),
  attention: ['*.to_q', '*.to_kv', '*.to_context.*', '*.to_out.*'],
  signature(config) {
    const { imageSize, inChannels, outChannels, text, lowRes } = config;
    const conditions: Record<string, ConditionSpec> = {
      ...(text !== null && { context: { shape: [text.maxTokens, text.width], none: 0 } }),
      ...(text !== null && { contextMask: { shape: [text.maxTokens], dtype: 'int32' as const, none: 0 } }),
      ...(lowRes && { lowRes: { shape: [imageSize, imageSize, inChannels] }, lowResTime: { shape: [] } }),
    };
    return {
      ...{ imageSize, inChannels, outChannels, classes: null, nullLabel: false, conditions },
      sizeMultiple: sizeMultiple(config),
    };
  },
  sized(
    size,
    { imageSize, channels, classes, contextWidth, contextTokens = 77, learnedVariance, lowRes = false },
  ): EfficientUNetConfig {
    if (classes !== null && contextWidth === undefined) {
      throw new InvalidArgumentError('EfficientUNet', 'has no labels: give it texts, or choose ADMUNet or DiT');
    }
    const halvings = [1, 2, 3].filter((n) => imageSize % 2 ** n === 0 && imageSize / 2 ** n >= coarsest / 2);
    const levels = 1 + (halvings.at(-1) ?? 0);
    const atLast = Array.from({ length: levels }, (_, level) => level === levels - 1);
    return efficientUNetFromImagenPytorch(
      {
        ...sizes[size],
        ...{ channels, channels_out: learnedVariance ? 2 * channels : channels },
        dim_mults: Array.from({ length: levels }, (_, level) => 2 ** level),
        ...{
          layer_attns: lowRes ? false : atLast,
          layer_cross_attns: atLast,
          attn_pool_num_latents: 8,
          max_text_len: contextTokens,
        },
        ...(lowRes && { lowres_cond: true, memory_efficient: true, attend_at_middle: false }),
        ...(contextWidth === undefined ? { cond_on_text: false } : { text_embed_dim: contextWidth }),
      },
      { imageSize },
    );
  },
  references: [
    {
      library: 'imagen-pytorch',
      className: 'Unet',
      config: efficientUNetFromImagenPytorch,
      inputs: {
        x: 'x',
        time: 'time',
        context: 'text_embeds',
        contextMask: 'text_mask',
        lowRes: 'lowres_cond_img',
        lowResTime: 'lowres_noise_times',
      },
      output: 'out',
    },
  ],
};

/** Every architecture of this package. */
export const architectures = [efficientUNet] as const;
