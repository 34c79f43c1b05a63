import { type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { type EfficientUNetConfig, type EfficientUNetInputs, efficientUNetFromImagenPytorch } from '../../src/index.js';

/** The smallest base model that has every part. */
export const tinyBase: EfficientUNetConfig = efficientUNetFromImagenPytorch(
  {
    ...{ dim: 8, text_embed_dim: 5, cond_dim: 6, dim_mults: [1, 2], channels: 2, max_text_len: 4, attn_heads: 2 },
    ...{ attn_dim_head: 4, attn_pool_num_latents: 2, init_cross_embed_kernel_sizes: [3, 5], num_time_tokens: 1 },
    ...{ layer_attns: [false, true], layer_cross_attns: [true, false], init_conv_to_final_conv_residual: true },
  },
  { imageSize: 4 },
);

/** The smallest super-resolution model, with the other choices. */
export const tinyEfficient: EfficientUNetConfig = efficientUNetFromImagenPytorch(
  {
    ...{ dim: 8, text_embed_dim: 5, cond_dim: 6, dim_mults: [1, 2], channels: 2, max_text_len: 4, attn_heads: 2 },
    ...{ attn_dim_head: 4, attn_pool_text: false, init_cross_embed: false, init_conv_kernel_size: 3 },
    ...{ layer_attns: false, layer_cross_attns: [false, true], memory_efficient: true, lowres_cond: true },
    ...{ pixel_shuffle_upsample: false, final_resnet_block: false, scale_skip_connection: false },
    ...{ use_global_context_attn: false, attend_at_middle: false, num_resnet_blocks: [1, 2] },
  },
  { imageSize: 4 },
);

const draw = (seed: number, shape: number[]) =>
  tf.tensor(new TorchGenerator(seed).randn(shape.reduce((a, b) => a * b, 1)), shape);

/** Conditions for a batch of two: a text of three tokens of which the second has one, and none. */
export function conditions({ text, lowRes }: EfficientUNetConfig): EfficientUNetInputs {
  return {
    ...(text && {
      context: draw(4, [2, 3, text.width]) as tf.Tensor3D,
      contextMask: tf.tensor2d([1, 1, 0, 0, 0, 0], [2, 3], 'int32'),
    }),
    ...(lowRes && { lowRes: draw(5, [2, 4, 4, 2]) as tf.Tensor4D, lowResTime: tf.tensor1d([0.5, -1]) }),
  };
}

export const noisy = () => draw(3, [2, 4, 4, 2]) as tf.Tensor4D;

/** Weights where nothing is zero, so that every parameter matters: normals of deviation 0.3. */
export async function randomise(model: Module, seed = 1): Promise<void> {
  const rng = new TorchGenerator(seed);
  const state: Record<string, HostTensor> = {};
  for (const [name, param] of model.params()) {
    state[name] = { shape: param.fileShape, data: rng.randn(param.size).map((n) => 0.3 * n) };
  }
  await model.load(state);
}
