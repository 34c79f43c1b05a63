import { switchTo } from '@mezzotint/backend/testing';
import { type StateDict, WeightsMismatchError } from '@mezzotint/core';
import { beforeAll, describe, expect, test } from 'vitest';
import * as textEncoders from '../src/index.js';
import { readJson, readTensors } from './support/golden.js';

const { ClipTextModel, T5EncoderModel, clipTextFromTransformers, presets, t5FromTransformers } = textEncoders;

// Counts of the published models. They are sums of whole numbers: no tolerance. Those of the whole CLIPs and of the
// smaller T5s were counted on transformers' classes.
const published = {
  'clip-vit-l-14-text': 123_060_480,
  'clip-vit-l-14-text-projection': 123_650_304,
  'openclip-vit-h-14-text': 340_387_840,
  'openclip-vit-bigg-14-text': 694_659_840,
  'clip-vit-b-16': 149_620_737,
  'clip-vit-b-32': 151_277_313,
  'clip-vit-l-14': 427_616_513,
  'clip-vit-l-14-336': 427_944_193,
  'openclip-vit-h-14': 986_109_441,
  'openclip-vit-bigg-14': 2_539_567_105,
  't5-v1_1-small-encoder': 35_332_800,
  't5-v1_1-base-encoder': 109_628_544,
  't5-v1_1-large-encoder': 341_231_104,
  't5-v1_1-xl-encoder': 1_223_527_424,
  't5-v1_1-xxl-encoder': 4_762_310_656,
} as const;

describe('parameters', () => {
  test.each(presets.map((preset) => [preset.name, preset] as const))('%s', (name, preset) => {
    const sizes = [...preset.build().params().values()].map((param) => param.size);
    expect(sizes.reduce((a, b) => a + b, 0)).toBe(published[name as keyof typeof published]);
  });

  test('presets have one name each, and all are listed', () => {
    const exported = Object.values(textEncoders).filter(
      (value) => typeof value === 'object' && 'build' in value && 'config' in value,
    );
    expect(new Set(presets)).toEqual(new Set(exported));
    expect(new Set(Object.keys(published))).toEqual(new Set(presets.map(({ name }) => name)));
  });
});

describe('state dicts are transformers’', () => {
  const manifest = (name: string) => readJson<{ tensors: Record<string, number[]> }>(`${name}.manifest.json`).tensors;
  const ours = (preset: { build(): { params(): ReadonlyMap<string, { fileShape: readonly number[] }> } }) =>
    [...preset.build().params()].map(([key, param]) => [key, [...param.fileShape]] as const);

  // transformers 5 leaves the prefix out, with which the files are published.
  test('CLIP ViT-L/14: same names, same shapes, same order', () => {
    const tensors = Object.entries(manifest('clip-l')).map(([key, shape]) => [`text_model.${key}`, shape]);
    expect(ours(textEncoders.clipTextL14)).toEqual(tensors);
  });

  test('OpenCLIP ViT-bigG/14: same names, same shapes, same order', () => {
    expect(ours(textEncoders.openClipTextBigG14)).toEqual(Object.entries(manifest('openclip-bigg')));
  });

  test('T5 XXL: same names, same shapes, same order, the tied table once', () => {
    const { 'encoder.embed_tokens.weight': copy, ...tensors } = manifest('t5-xxl');
    expect(copy).toEqual(tensors['shared.weight']);
    expect(ours(textEncoders.t5Xxl)).toEqual(Object.entries(tensors));
  });
});

describe('dialects', () => {
  beforeAll(() => switchTo('cpu'));
  const clip = clipTextFromTransformers(readJson('clip-text/config.json'));
  const bare = readTensors('clip-text/model.safetensors');
  const prefixed = Object.fromEntries(Object.entries(bare).map(([name, tensor]) => [`text_model.${name}`, tensor]));
  const positions = { shape: [1, 16], data: Int32Array.from({ length: 16 }, (_, i) => i) };

  test('CLIP with and without prefix, with and without position ids; saved with the prefix', async () => {
    const files: StateDict[] = [
      bare,
      prefixed,
      { ...prefixed, 'text_model.embeddings.position_ids': positions },
      { ...bare, 'embeddings.position_ids': positions },
      // Files of Stable Diffusion 2 may have a projection, which their encoder does not use.
      { ...prefixed, 'text_projection.weight': { shape: [3, clip.width], data: new Float32Array(3 * clip.width) } },
    ];
    for (const file of files) {
      const model = await new ClipTextModel(clip).load(file);
      const saved = await model.save();
      expect(Object.keys(saved).sort()).toEqual(Object.keys(prefixed).sort());
      const name = 'text_model.encoder.layers.2.mlp.fc1.weight';
      expect(saved[name]!.data).toEqual(prefixed[name]!.data);
      model.dispose();
    }
  });

  test('strict all the same', async () => {
    const file = { ...prefixed, 'text_projection.weight': { shape: [1], data: new Float32Array(1) } };
    await expect(new ClipTextModel(clip).load(file)).rejects.toThrow(WeightsMismatchError);
    const { 'final_layer_norm.bias': _, ...less } = bare;
    await expect(new ClipTextModel(clip).load(less)).rejects.toThrow(/missing 1: text_model.final_layer_norm.bias/);
  });

  test('T5’s table under either name or both; a second one of another shape is refused', async () => {
    const config = t5FromTransformers(readJson('t5-encoder/config.json'));
    const weights = readTensors('t5-encoder/model.safetensors');
    const { 'shared.weight': table, ...rest } = weights;
    for (const file of [
      weights,
      { ...weights, 'encoder.embed_tokens.weight': table! },
      { ...rest, 'encoder.embed_tokens.weight': table! },
    ]) {
      const model = await new T5EncoderModel(config).load(file);
      expect((await model.save())['shared.weight']!.data).toEqual(table!.data);
      model.dispose();
    }
    const odd = { ...weights, 'encoder.embed_tokens.weight': { shape: [2], data: new Float32Array(2) } };
    await expect(new T5EncoderModel(config).load(odd)).rejects.toThrow(/unexpected 1: encoder.embed_tokens.weight/);
  });
});
