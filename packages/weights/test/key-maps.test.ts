import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { WeightSource } from '@mezzotint/core';
import {
  clipKeyMap,
  clipTextPrefixKeyMap,
  ditKeyMap,
  fluxKeyMap,
  type KeyMap,
  oldVaeKeyMap,
  renamed,
  rinKeyMap,
  type Side,
  sd3KeyMap,
  translate,
  unetKeyMap,
  vaeKeyMap,
  withoutPrefix,
} from '@mezzotint/weights';
import { readSafetensors } from '@mezzotint/weights/node';
import { describe, expect, test } from 'vitest';
import { manifest, shrunk } from './manifests.js';
import { numbered, readAll, shapesOf } from './synthetic.js';

type MapMaker = (names: Iterable<string>, from: Side) => KeyMap;

const there = (source: WeightSource, map: MapMaker, from: Side) =>
  translate(source, map(source.tensors.keys(), from), from);
const sorted = (shapes: Readonly<Record<string, readonly number[]>>) => shapesOf(numbered(shapes));
const golden = (name: string) =>
  readSafetensors(fileURLToPath(new URL(`fixtures/golden/${name}.safetensors`, import.meta.url)));

describe('bijections on the published models: from diffusers or transformers and back, every number', () => {
  test.each<[string, MapMaker, number, number]>([
    ['sd15-unet-diffusers', unetKeyMap, 686, 686],
    ['sdxl-unet-diffusers', unetKeyMap, 1680, 1680],
    ['sdxl-refiner-unet-diffusers', unetKeyMap, 1220, 1220],
    ['vae-diffusers', vaeKeyMap, 248, 248],
    ['vae-16ch-diffusers', vaeKeyMap, 244, 244],
    // 32 layers with q, k and v as one tensor instead of three, weights and biases: 4 fewer each.
    ['clip-g-transformers', clipKeyMap, 517, 517 - 32 * 4],
    ['sd3-diffusers', sd3KeyMap, 683, 491],
    ['flux-diffusers', fluxKeyMap, 1160, 780],
  ])('%s', async (name, map, right, left) => {
    const source = shrunk(name);
    const original = there(source, map, 'right');
    const back = there(original, map, 'left');
    expect(source.tensors.size).toBe(right);
    expect(original.tensors.size).toBe(left);
    expect(original.dropped).toEqual([]);
    await expectEqualNumbers(back, source);
  });
});

test('RIN: Keras variables and the keys of the original’s checkpoints, both ways', async () => {
  // Pairs of the `checkpoint_keys` of a checkpoint of the official class, with the paths’ ends cut.
  const pairs = {
    'tape/stem/kernel': 'stem.kernel',
    'tape/time_emb/dense1/bias': 'time_emb.dense_1.bias',
    'tape/latent_pos_emb/kernel/vis_pos_embedding': 'latent_pos_emb',
    'tape/tape_pos_emb_res/kernel': 'tape_pos_emb_res',
    'tape/latent_prev_proj/ffn/ln/gamma': 'latent_prev_proj.layernorms.0.gamma',
    'tape/read_unit_1/transformer_decoder_layer/cross_mha/enc_ln/beta': 'read_units.1.dec_layers.0.enc_ln.beta',
    'tape/write_unit_1/transformer_decoder_layer/mlp/ffn/dense2/kernel':
      'write_units.1.dec_layers.0.mlp.mlp_layers.0.dense2.kernel',
    'tape/latent_processing_unit0/transformer_encoder/mha/ln/gamma':
      'latent_processing_units.0.enc_layers.0.mha_ln.gamma',
    'tape/latent_processing_unit0/transformer_encoder_1/mha/attention_output/kernel':
      'latent_processing_units.0.enc_layers.1.mha._output_dense.kernel',
  };
  const keras = numbered(Object.fromEntries(Object.keys(pairs).map((name) => [name, [2, 3]])));
  const ours = there(keras, rinKeyMap, 'right');
  expect(new Set(ours.tensors.keys())).toEqual(new Set(Object.values(pairs)));
  for (const [right, left] of Object.entries(pairs)) expect(await ours.read(left)).toEqual(await keras.read(right));
  await expectEqualNumbers(there(ours, rinKeyMap, 'left'), keras);
});

test('conditions of a UNet: SDXL’s, the x4 upscaler’s table, unCLIP’s vector', () => {
  // As diffusers' convert_ldm_unet_checkpoint has them.
  const block = { 'down_blocks.0.resnets.0.norm1.weight': [4], 'up_blocks.0.resnets.0.norm1.weight': [4] };
  const original = (name: string) => {
    const source = numbered({ ...block, [name]: [4, 4] });
    return [...there(source, unetKeyMap, 'right').tensors.keys()].find((left) => left.startsWith('label_emb'));
  };
  expect(original('add_embedding.linear_1.weight')).toBe('label_emb.0.0.weight');
  expect(original('class_embedding.weight')).toBe('label_emb.weight');
  expect(original('class_embedding.linear_1.weight')).toBe('label_emb.0.0.weight');
  const upscaler = numbered({ 'input_blocks.0.0.weight': [4], 'label_emb.weight': [5, 4] });
  expect([...there(upscaler, unetKeyMap, 'left').tensors.keys()]).toContain('class_embedding.weight');
});

describe('names and shapes of both layouts as published', () => {
  test.each<[string, string, MapMaker]>([
    ['sd3-original', 'sd3-diffusers', sd3KeyMap],
    ['flux-original', 'flux-diffusers', fluxKeyMap],
    ['dit-original', 'dit-diffusers', ditKeyMap],
  ])('%s -> %s', (left, right, map) => {
    // Stability's names are listed with the prefix of the file.
    const source = withoutPrefixIfAny(numbered(manifest(left)), 'model.diffusion_model.');
    expect(shapesOf(there(source, map, 'left'))).toEqual(sorted(manifest(right)));
    const grid = { side: 16, width: 1152 };
    const ditWithTable: MapMaker = (names, from) => ditKeyMap(names, from, { grid });
    const back = there(numbered(manifest(right)), map === ditKeyMap ? ditWithTable : map, 'right');
    expect(shapesOf(back)).toEqual(shapesOf(source));
  });

  test('the blocks of the original Stable Diffusion 1 that loaders know it by', () => {
    // From public detection tables (for example those of ComfyUI and of GGUF converters).
    const { tensors } = there(numbered(manifest('sd15-unet-diffusers')), unetKeyMap, 'right');
    for (const name of [
      'input_blocks.3.0.op.weight',
      'input_blocks.6.0.op.weight',
      'input_blocks.9.0.op.weight',
      'output_blocks.2.1.conv.weight',
      'output_blocks.5.2.conv.weight',
      'output_blocks.8.2.conv.weight',
      'middle_block.1.transformer_blocks.0.attn2.to_k.weight',
      'input_blocks.11.0.out_layers.3.bias',
      'output_blocks.11.1.proj_out.weight',
    ]) {
      expect(tensors.has(name), name).toBe(true);
    }
    expect(tensors.get('input_blocks.4.1.proj_in.weight')?.shape).toEqual([640, 640, 1, 1]);
    expect(tensors.get('output_blocks.3.0.in_layers.2.weight')?.shape).toEqual([1280, 2560, 3, 3]);
  });
});

describe('the same weights in both layouts, as the reference implementations ran them: every number', () => {
  test.each<[string, string, MapMaker]>([
    ['sd35-original', 'sd35-transformer-sharp', sd3KeyMap],
    ['flux-dev-original', 'flux-dev-transformer-sharp', fluxKeyMap],
  ])('%s <-> %s', async (left, right, map) => {
    const original = withoutPrefixIfAny(golden(left), 'model.diffusion_model.');
    const diffusers = golden(right);
    await expectEqualNumbers(there(original, map, 'left'), diffusers);
    await expectEqualNumbers(there(diffusers, map, 'right'), original);
  });
});

describe('DiT', () => {
  test('q, k and v are split, embedders repeated in every block and taken once on the way back', async () => {
    const source = shrunk('dit-original');
    const diffusers = there(source, ditKeyMap, 'left');
    expect(diffusers.dropped).toEqual([expect.objectContaining({ name: 'pos_embed' })]);
    const back = there(diffusers, ditKeyMap, 'right');
    expect(back.tensors.size).toBe(source.tensors.size - 1);
    await expectEqualNumbers(
      back,
      renamed(source, (name) => (name === 'pos_embed' ? undefined : name)),
    );
  });

  test('copies that differ are an error', async () => {
    const copies = numbered({
      'transformer_blocks.0.norm1.emb.timestep_embedder.linear_1.bias': [2],
      'transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias': [2],
    });
    const original = there(copies, ditKeyMap, 'right');
    expect([...original.tensors.keys()]).toEqual(['t_embedder.mlp.0.bias']);
    await expect(original.read('t_embedder.mlp.0.bias')).rejects.toThrow(/must be a copy of .*per-block/);
  });

  test('embedders that training moved apart stay with their blocks, and go back', async () => {
    const source = shrunk('dit-diffusers');
    const perBlock: MapMaker = (names, from) => ditKeyMap(names, from, { embedders: 'per-block' });
    const original = there(source, perBlock, 'right');
    expect(original.tensors.has('t_embedder.mlp.0.weight')).toBe(false);
    expect(original.tensors.has('blocks.27.y_embedder.embedding_table.weight')).toBe(true);
    await expectEqualNumbers(there(original, ditKeyMap, 'left'), source);
  });

  test('the position table equals the one in the original checkpoint', async () => {
    // Made there in float64 and rounded once to float32, as here: within one unit in the last place of 1.
    const { pos_embed } = JSON.parse(
      readFileSync(new URL('fixtures/golden/dit-original.json', import.meta.url), 'utf8'),
    ) as { pos_embed: number[] };
    const map = ditKeyMap([], 'right', { grid: { side: 4, width: 48 } });
    const table = await translate(numbered({}), map, 'right').read('pos_embed');
    expect(table.shape).toEqual([1, 16, 48]);
    const sample = [...table.data].filter((_, i) => (i % 48) % 7 === 0).slice(0, 48);
    expect(Math.max(...sample.map((x, i) => Math.abs(x - pos_embed[i]!)))).toBeLessThan(1.2e-7);
  });
});

describe('CLIP', () => {
  test('in_proj is q, k, v from top to bottom, and text_projection is transposed', async () => {
    const source = numbered({
      'transformer.resblocks.0.attn.in_proj_weight': [6, 2],
      'transformer.resblocks.0.attn.in_proj_bias': [6],
      text_projection: [2, 3],
      positional_embedding: [4, 2],
      logit_scale: [],
    });
    const hf = there(source, clipKeyMap, 'left');
    const layer = 'text_model.encoder.layers.0.self_attn';
    expect((await hf.read(`${layer}.q_proj.weight`)).data).toEqual(Float32Array.of(0, 1, 2, 3));
    expect((await hf.read(`${layer}.v_proj.weight`)).data).toEqual(Float32Array.of(8, 9, 10, 11));
    expect((await hf.read(`${layer}.k_proj.bias`)).data).toEqual(Float32Array.of(1002, 1003));
    expect(await hf.read('text_projection.weight')).toEqual({
      shape: [3, 2],
      data: Float32Array.of(2000, 2003, 2001, 2004, 2002, 2005),
    });
    expect(hf.dropped.map(({ name }) => name)).toEqual(['logit_scale']);
  });

  test('Stable Diffusion 2 keeps 23 of 24 layers and no projection', () => {
    const layers = Array.from({ length: 24 }, (_, n) => [`transformer.resblocks.${n}.ln_1.weight`, [2]] as const);
    const source = numbered({ ...Object.fromEntries(layers), text_projection: [2, 2] });
    const hf = translate(source, clipKeyMap(source.tensors.keys(), 'left', { textLayers: 23 }), 'left');
    expect(hf.tensors.size).toBe(23);
    expect(hf.dropped.map(({ name }) => name)).toEqual(['transformer.resblocks.23.ln_1.weight', 'text_projection']);
  });

  test('both dialects of transformers', () => {
    const source = numbered(manifest('clip-l-transformers-5'));
    const published = translate(source, clipTextPrefixKeyMap(), 'right');
    expect([...published.tensors.keys()].every((name) => name.startsWith('text_model.'))).toBe(true);
    expect(shapesOf(translate(published, clipTextPrefixKeyMap(), 'left'))).toEqual(shapesOf(source));
  });

  test('image towers too', () => {
    const source = numbered({
      'visual.class_embedding': [4],
      'visual.proj': [4, 2],
      'visual.transformer.resblocks.0.mlp.c_fc.weight': [16, 4],
      logit_scale: [],
    });
    expect(Object.keys(shapesOf(there(source, clipKeyMap, 'left')))).toEqual([
      'logit_scale',
      'vision_model.embeddings.class_embedding',
      'vision_model.encoder.layers.0.mlp.fc1.weight',
      'visual_projection.weight',
    ]);
  });
});

test('the attention of VAE files of before 2023', () => {
  const old = numbered({
    'encoder.conv_in.bias': [2],
    'decoder.mid_block.attentions.0.query.weight': [2, 2],
    'decoder.mid_block.attentions.0.proj_attn.bias': [2],
    'decoder.mid_block.attentions.0.group_norm.bias': [2],
  });
  expect(Object.keys(shapesOf(translate(old, oldVaeKeyMap(), 'left')))).toEqual([
    'decoder.mid_block.attentions.0.group_norm.bias',
    'decoder.mid_block.attentions.0.to_out.0.bias',
    'decoder.mid_block.attentions.0.to_q.weight',
    'encoder.conv_in.bias',
  ]);
});

test('everything that does not fit is said at once', () => {
  const source = numbered({
    'transformer_blocks.0.attn.to_q.weight': [2, 2],
    'transformer_blocks.0.attn.to_k.weight': [2, 2],
    'transformer_blocks.0.attn.strange': [2],
    'single_transformer_blocks.0.attn.to_q.bias': [2],
    'single_transformer_blocks.0.attn.to_k.bias': [2],
    'single_transformer_blocks.0.attn.to_v.bias': [2],
    'single_transformer_blocks.0.proj_mlp.bias': [9],
    'norm_out.linear.bias': [3],
  });
  expect(() => there(source, fluxKeyMap, 'right')).toThrow(
    /strange: has no place[\s\S]*to_v.weight: missing, while[\s\S]*cannot be stacked 1 : 1 : 1 : 4[\s\S]*no two halves/,
  );
});

test('a fused tensor is read once for all its parts', async () => {
  let reads = 0;
  const source = numbered({ 'blocks.0.attn.qkv.bias': [6] });
  const counting: WeightSource = {
    ...source,
    read: (name) => {
      reads++;
      return source.read(name);
    },
  };
  await readAll(there(counting, ditKeyMap, 'left'));
  expect(reads).toBe(1);
});

/** Same names, shapes and numbers to the bit. */
async function expectEqualNumbers(got: WeightSource, expected: WeightSource): Promise<void> {
  expect(shapesOf(got)).toEqual(shapesOf(expected));
  const different: string[] = [];
  for (const name of expected.tensors.keys()) {
    const [a, b] = [(await got.read(name)).data, (await expected.read(name)).data];
    if (!a.every((value, i) => Object.is(value, b[i]))) different.push(name);
  }
  expect(different).toEqual([]);
}

function withoutPrefixIfAny(source: WeightSource, prefix: string): WeightSource {
  return [...source.tensors.keys()][0]!.startsWith(prefix) ? withoutPrefix(source, prefix) : source;
}

test('a name that begins with a dot, or is one, fits no pair and is named', () => {
  const source = numbered({ '.weight': [2], '.': [1], 'a..b': [1] });
  const map = { name: 'test', pairs: [{ left: 'x', right: ['y'] }], leftOut: [] };
  expect(() => translate(source, map as never, 'left')).toThrow(/\.weight/);
});
