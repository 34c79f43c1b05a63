import { AutoencoderKL, autoencoderKLFromDiffusers } from '@mezzotint/autoencoders';
import { describe, type Initializer, type ModelCost, type Module, uniform, type WeightSource } from '@mezzotint/core';
import { MMDiT, mmditFromDiffusers } from '@mezzotint/mmdit';
import { UNet2DCondition, unet2dConditionFromDiffusers } from '@mezzotint/unet';
import { sd3KeyMap, translate } from '@mezzotint/weights';
import * as tf from '@tensorflow/tfjs-core';

/** Inputs by name, images `[N, H, W, C]`. */
export type Inputs = Readonly<Record<string, tf.Tensor>>;

/** A published network of full size, whose checkpoint is made of random numbers. */
export interface CheckpointNetwork {
  readonly about: string;
  /** What `step` is. */
  readonly step: string;
  /** diffusers' config.json; what is absent is that class's default. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Shapes of the inputs; the file with their numbers is read by both sides. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  /** Draws all weights, where their own initial values give an answer of zeros. */
  readonly init?: Initializer;
  /** Weights under the names of diffusers, where the model has others. */
  readonly toDiffusers?: (weights: WeightSource) => WeightSource;
  /** Describes the model; nothing is allocated. */
  build(): CheckpointModel;
}

export interface CheckpointModel {
  readonly model: Module;
  /** One step; the answer is the caller's. */
  step(inputs: Inputs): tf.Tensor;
}

/** Of Stable Diffusion 1's sampler at a middle time: the estimate with guidance, and a step of Euler's method in sigma. */
const guidance = { scale: 7.5, time: 500, step: -0.5 } as const;

const sd15Config = { _class_name: 'UNet2DConditionModel', sample_size: 64, cross_attention_dim: 768 } as const;

const sdxlConfig = {
  _class_name: 'UNet2DConditionModel',
  sample_size: 128,
  block_out_channels: [320, 640, 1280],
  down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
  up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
  transformer_layers_per_block: [1, 2, 10],
  attention_head_dim: [5, 10, 20],
  cross_attention_dim: 2048,
  use_linear_projection: true,
  addition_embed_type: 'text_time',
  addition_time_embed_dim: 256,
  projection_class_embeddings_input_dim: 2816,
} as const;

const sd35MediumConfig = {
  _class_name: 'SD3Transformer2DModel',
  ...{ sample_size: 128, patch_size: 2, in_channels: 16, out_channels: 16, num_layers: 24 },
  ...{ attention_head_dim: 64, num_attention_heads: 24, caption_projection_dim: 1536, joint_attention_dim: 4096 },
  ...{ pooled_projection_dim: 2048, pos_embed_max_size: 384, qk_norm: 'rms_norm' },
  dual_attention_layers: Array.from({ length: 13 }, (_, n) => n),
} as const;

const vaeConfig = {
  _class_name: 'AutoencoderKL',
  down_block_types: Array<string>(4).fill('DownEncoderBlock2D'),
  up_block_types: Array<string>(4).fill('UpDecoderBlock2D'),
  block_out_channels: [128, 256, 512, 512],
  layers_per_block: 2,
  sample_size: 512,
} as const;

/** What `pnpm bench:checkpoint --network` takes. */
export const checkpoints = {
  sd15: {
    about: "Stable Diffusion 1.5's UNet at 512x512 pixels",
    step: 'both halves of guidance in one batch of 2, and a step of Euler',
    config: sd15Config,
    inputs: { latent: [1, 64, 64, 4], context: [2, 77, 768] },
    build() {
      const model = new UNet2DCondition(unet2dConditionFromDiffusers(sd15Config));
      return {
        model,
        step: ({ latent, context }) => {
          const both = tf.tile(latent!, [2, 1, 1, 1]) as tf.Tensor4D;
          const noise = model.forward(both, tf.fill([2], guidance.time), { context: context as tf.Tensor3D });
          const [without, withText] = tf.split(noise, 2) as [tf.Tensor, tf.Tensor];
          const guided = tf.add(without, tf.mul(tf.sub(withText, without), guidance.scale));
          return tf.add(latent!, tf.mul(guided, guidance.step));
        },
      };
    },
  },
  vae: {
    about: "Stable Diffusion 1.5's VAE",
    step: 'one decode of 64x64 latent pixels to 512x512',
    config: vaeConfig,
    inputs: { latent: [1, 64, 64, 4] },
    build() {
      const model = new AutoencoderKL(autoencoderKLFromDiffusers(vaeConfig));
      return { model, step: ({ latent }) => model.decode(latent as tf.Tensor4D) };
    },
  },
  'sdxl-unet': {
    about: "SDXL's UNet at 1024x1024 pixels",
    step: 'one pass of 128x128 latent pixels, without guidance',
    config: sdxlConfig,
    inputs: { latent: [1, 128, 128, 4], context: [1, 77, 2048], pooled: [1, 1280], timeIds: [1, 6] },
    build() {
      const model = new UNet2DCondition(unet2dConditionFromDiffusers(sdxlConfig));
      return {
        model,
        step: ({ latent, context, pooled, timeIds }) =>
          model.forward(latent as tf.Tensor4D, tf.fill([1], guidance.time), {
            context: context as tf.Tensor3D,
            pooled: pooled as tf.Tensor2D,
            timeIds: timeIds as tf.Tensor2D,
          }),
      };
    },
  },
  'sd35-medium': {
    about: "Stable Diffusion 3.5 medium's transformer at 512x512 pixels",
    step: 'one pass of 64x64 latent pixels and 333 text tokens, without guidance',
    config: sd35MediumConfig,
    inputs: { latent: [1, 64, 64, 16], context: [1, 333, 4096], pooled: [1, 2048] },
    init: repeated(uniform(0.03)),
    toDiffusers: (weights) => translate(weights, sd3KeyMap(weights.tensors.keys(), 'left'), 'left'),
    build() {
      const model = new MMDiT(mmditFromDiffusers(sd35MediumConfig));
      return {
        model,
        step: ({ latent, context, pooled }) =>
          model.forward(latent as tf.Tensor4D, tf.fill([1], guidance.time), {
            context: context as tf.Tensor3D,
            pooled: pooled as tf.Tensor2D,
          }),
      };
    },
  },
} as const satisfies Readonly<Record<string, CheckpointNetwork>>;

/** Numbers that are drawn once and repeated. An odd number, so that rows differ. */
const DRAWN = 1_000_003;

/** `init` for billions of numbers, which would take minutes to draw. */
function repeated(init: Initializer): Initializer {
  let drawn: Float32Array | undefined;
  return (shape, rng) => {
    drawn ??= init([DRAWN], rng);
    const out = new Float32Array(shape.reduce((n, d) => n * d, 1));
    for (let at = 0; at < out.length; at += DRAWN) out.set(drawn.subarray(0, out.length - at), at);
    return out;
  };
}

export type CheckpointName = keyof typeof checkpoints;

/** Parameters, and multiply-adds of a step. */
export function costOf({ inputs, build }: CheckpointNetwork): ModelCost {
  const { model, step } = build();
  const names = Object.keys(inputs);
  const specs = names.map((name) => ({ shape: inputs[name]! }));
  return describe(model, specs, (_, tensors) => step(Object.fromEntries(names.map((name, i) => [name, tensors[i]!]))));
}
