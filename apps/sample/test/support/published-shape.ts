import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AutoencoderKL, autoencoderKLFromDiffusers } from '@mezzotint/autoencoders';
import type { HostTensor, Module } from '@mezzotint/core';
import {
  ClipTextModel,
  ClipTextModelWithProjection,
  clipTextFromTransformers,
  clipVocabulary,
} from '@mezzotint/text-encoders';
import { UNet2DCondition, unet2dConditionFromDiffusers } from '@mezzotint/unet';
import { clipKeyMap, translate, unetKeyMap, vaeKeyMap } from '@mezzotint/weights';
import { writeSafetensors } from '@mezzotint/weights/node';

export type Kind = 'sd1' | 'sd1-inpainting' | 'sd2' | 'sd2-v' | 'sdxl' | 'refiner';
type State = Readonly<Record<string, HostTensor>>;

/** The families as published but for widths and depths: 32 groups, heads and waves as there, all of CLIP's words. */
const families = {
  sd1: { openclip: false, xl: false, two: false, channels: [32, 64] },
  sd2: { openclip: true, xl: false, two: false, channels: [64, 128] },
  sdxl: { openclip: false, xl: true, two: true, channels: [64, 128] },
  refiner: { openclip: true, xl: true, two: false, channels: [64, 128] },
} as const;

/**
 * Writes a model twice: as a folder of diffusers whose files say everything, and as one file in the original layout that
 * says nothing but names and numbers. Weights are seeded and none is zero.
 */
export async function writePublishedShape(kind: Kind, folder: string, file: string): Promise<void> {
  const { openclip, xl, two, channels } = families[kind.split('-')[0] as keyof typeof families];
  const width = 64;
  const unetJson = {
    in_channels: kind === 'sd1-inpainting' ? 9 : 4,
    block_out_channels: channels,
    layers_per_block: 1,
    down_block_types: xl ? ['DownBlock2D', 'CrossAttnDownBlock2D'] : ['CrossAttnDownBlock2D', 'DownBlock2D'],
    up_block_types: xl ? ['CrossAttnUpBlock2D', 'UpBlock2D'] : ['UpBlock2D', 'CrossAttnUpBlock2D'],
    cross_attention_dim: two ? 2 * width : width,
    attention_head_dim: openclip || xl ? channels.map((c) => c / 64) : 8,
    use_linear_projection: openclip || xl,
    transformer_layers_per_block: xl ? [1, 2] : 1,
    ...(xl && {
      addition_embed_type: 'text_time',
      addition_time_embed_dim: 256,
      projection_class_embeddings_input_dim: 128 + (two ? 6 : 5) * 256,
    }),
    sample_size: xl ? 128 : kind === 'sd2-v' ? 96 : 64,
  };
  const vaeJson = {
    ...{ block_out_channels: [32, 32], layers_per_block: 1, scaling_factor: xl ? 0.13025 : 0.18215 },
    down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D'],
    up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D'],
  };
  const textJson = (projection: number, act: string) => ({
    ...{ model_type: 'clip_text_model', hidden_size: width, intermediate_size: 96, num_attention_heads: 1 },
    ...{ num_hidden_layers: 3, hidden_act: act, vocab_size: 49408, eos_token_id: 2, projection_dim: projection },
  });
  const chain = { beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012, steps_offset: 1 };
  const scheduler = xl
    ? { ...chain, _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'leading' }
    : kind === 'sd2-v'
      ? {
          ...chain,
          _class_name: 'DDIMScheduler',
          clip_sample: false,
          set_alpha_to_one: false,
          prediction_type: 'v_prediction',
        }
      : { ...chain, _class_name: 'PNDMScheduler', skip_prk_steps: true, set_alpha_to_one: false };

  const single: Record<string, HostTensor> = {};
  const add = (prefix: string, state: State) => {
    for (const [name, tensor] of Object.entries(state)) single[prefix + name] = tensor;
  };
  const write = async (part: string, config: object, state: State, name: string) => {
    mkdirSync(join(folder, part), { recursive: true });
    writeFileSync(join(folder, part, 'config.json'), JSON.stringify(config));
    await writeSafetensors(join(folder, part, `${name}.safetensors`), state, { dtype: 'F16' });
  };
  // The spread of this bias is what tells a Stable Diffusion 2 that predicts v.
  const spread = kind === 'sd2-v' ? 1 : 0.1;
  const unet = numbers(new UNet2DCondition(unet2dConditionFromDiffusers(unetJson)), 1, (name) =>
    /up_blocks.1.attentions.*norm1.bias/.test(name) ? spread : 1,
  );
  await write('unet', unetJson, unet, 'diffusion_pytorch_model');
  add('model.diffusion_model.', await original(unet, unetKeyMap));
  const vae = numbers(new AutoencoderKL(autoencoderKLFromDiffusers(vaeJson)), 2);
  await write('vae', vaeJson, vae, 'diffusion_pytorch_model');
  add('first_stage_model.', await original(vae, vaeKeyMap));

  const words = await clipVocabulary();
  const tokenizer = (part: string, pad: string) => {
    mkdirSync(join(folder, part), { recursive: true });
    writeFileSync(join(folder, part, 'vocab.json'), JSON.stringify(words.vocab));
    writeFileSync(join(folder, part, 'merges.txt'), words.merges);
    writeFileSync(
      join(folder, part, 'tokenizer_config.json'),
      JSON.stringify({ pad_token: pad, model_max_length: 77 }),
    );
  };
  const index: Record<string, unknown> = {
    _class_name: 'StableDiffusionPipeline',
    ...{ unet: ['diffusers', 'UNet2DConditionModel'], vae: ['diffusers', 'AutoencoderKL'] },
    ...{ scheduler: ['diffusers', scheduler._class_name], force_zeros_for_empty_prompt: kind === 'sdxl' },
  };
  if (!xl || two) {
    const config = textJson(512, openclip ? 'gelu' : 'quick_gelu');
    const state = numbers(new ClipTextModel(clipTextFromTransformers(config)), 3);
    await write('text_encoder', config, state, 'model');
    tokenizer('tokenizer', openclip ? '!' : '<|endoftext|>');
    index.text_encoder = ['transformers', 'CLIPTextModel'];
    index.tokenizer = ['transformers', 'CLIPTokenizer'];
    if (openclip) add('cond_stage_model.model.', await original(state, clipKeyMap));
    else add(xl ? 'conditioner.embedders.0.transformer.' : 'cond_stage_model.transformer.', state);
  }
  if (xl) {
    const config = textJson(128, 'gelu');
    const state = numbers(new ClipTextModelWithProjection(clipTextFromTransformers(config)), 4);
    await write('text_encoder_2', config, state, 'model');
    tokenizer('tokenizer_2', '!');
    index.text_encoder_2 = ['transformers', 'CLIPTextModelWithProjection'];
    index.tokenizer_2 = ['transformers', 'CLIPTokenizer'];
    add(`conditioner.embedders.${two ? 1 : 0}.model.`, await original(state, clipKeyMap));
  }
  mkdirSync(join(folder, 'scheduler'), { recursive: true });
  writeFileSync(join(folder, 'scheduler', 'scheduler_config.json'), JSON.stringify(scheduler));
  writeFileSync(join(folder, 'model_index.json'), JSON.stringify(index));
  await writeSafetensors(file, single, { dtype: 'F16' });
}

/** Seeded numbers of about the size that trained weights have, in half precision's range. */
function numbers(module: Module, seed: number, factor: (name: string) => number = () => 1): State {
  let state = seed * 7919;
  const next = () => {
    state = (state * 16807) % 2147483647;
    return state / 2147483647 - 0.5;
  };
  return Object.fromEntries(
    [...module.params()].map(([name, { fileShape, size }]) => {
      const inputs = fileShape.slice(1).reduce((a, b) => a * b, 1);
      const center = /norm.*weight$/.test(name) ? 1 : 0;
      const spread = (fileShape.length === 1 ? 0.7 : 3 / Math.sqrt(inputs)) * factor(name);
      return [name, { shape: fileShape, data: Float32Array.from({ length: size }, () => center + spread * next()) }];
    }),
  );
}

async function original(state: State, map: typeof unetKeyMap): Promise<State> {
  const tensors = new Map(Object.entries(state).map(([name, { shape }]) => [name, { shape, dtype: 'F32' }]));
  const source = { name: 'diffusers', tensors, read: (name: string) => state[name]! };
  const view = translate(source, map(tensors.keys(), 'right'), 'right');
  const result: Record<string, HostTensor> = {};
  for (const name of view.tensors.keys()) result[name] = await view.read(name);
  return result;
}
