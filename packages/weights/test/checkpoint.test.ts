import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Module, type WeightSource } from '@mezzotint/core';
import {
  clipKeyMap,
  explain,
  openComponent,
  openSingleFile,
  recognise,
  translate,
  unetKeyMap,
  vaeKeyMap,
} from '@mezzotint/weights';
import { readPipelineFolder, readSafetensors, readWeights, writeSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { manifest } from './manifests.js';
import { numbered, readAll, shapesOf } from './synthetic.js';

type Shapes = Readonly<Record<string, readonly number[]>>;

/** A published model in its original layout, made from the manifest by a key map that its own test proves. */
function original(name: string, map: typeof unetKeyMap): Shapes {
  const source = numbered(manifest(name));
  return shapesOf(translate(source, map(source.tensors.keys(), 'right'), 'right'));
}

const prefixed = (prefix: string, shapes: Shapes): Shapes =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, shape]));
const textModel = (): Shapes => prefixed('text_model.', manifest('clip-l-transformers-5'));
const sd1 = (): Shapes => ({
  ...prefixed('model.diffusion_model.', original('sd15-unet-diffusers', unetKeyMap)),
  ...prefixed('first_stage_model.', original('vae-diffusers', vaeKeyMap)),
  ...prefixed('cond_stage_model.transformer.', textModel()),
  'cond_stage_model.transformer.text_model.embeddings.position_ids': [1, 77],
  betas: [1000],
  alphas_cumprod: [1000],
  'first_stage_model.loss.logvar': [],
});

describe('recognising models by their names', () => {
  test.each([
    ['sd15-unet-diffusers', 'sd-unet', 'diffusers'],
    ['sdxl-refiner-unet-diffusers', 'sd-unet', 'diffusers'],
    ['vae-16ch-diffusers', 'kl-vae', 'diffusers'],
    ['clip-l-transformers-5', 'clip', 'transformers-5'],
    ['clip-g-transformers', 'clip', 'transformers'],
    ['t5-transformers', 't5', 'transformers'],
    ['dit-original', 'dit', 'original'],
    ['dit-diffusers', 'dit', 'diffusers'],
    ['sd3-diffusers', 'sd3', 'diffusers'],
    ['flux-original', 'flux', 'original'],
    ['flux-diffusers', 'flux', 'diffusers'],
    ['adm-original', 'adm-unet', 'original'],
  ])('%s', (name, model, layout) => {
    expect(recognise(Object.keys(manifest(name)))).toEqual({ model, layout });
  });

  test('the original layouts', () => {
    expect(recognise(Object.keys(original('sdxl-unet-diffusers', unetKeyMap)))).toEqual({
      model: 'sd-unet',
      layout: 'original',
    });
    expect(recognise(Object.keys(original('vae-diffusers', vaeKeyMap)))).toEqual({
      model: 'kl-vae',
      layout: 'original',
    });
    expect(recognise(Object.keys(original('clip-g-transformers', clipKeyMap)))).toEqual({
      model: 'clip',
      layout: 'openclip',
    });
    expect(recognise(['a', 'b'])).toBeUndefined();
    expect(() => openComponent(numbered({ a: [1], b: [2] }, 'x.bin'))).toThrow(
      'x.bin: holds no known model; its first tensors are a, b',
    );
  });
});

describe('single files', () => {
  test('Stable Diffusion 1 comes apart into the three models of its folder form', () => {
    const file = openSingleFile(numbered(sd1(), 'v1.ckpt'));
    expect([...file.components.keys()]).toEqual(['unet', 'vae', 'text_encoder']);
    expect(shapesOf(file.components.get('unet')!.weights)).toEqual(shapesOf(numbered(manifest('sd15-unet-diffusers'))));
    expect(shapesOf(file.components.get('vae')!.weights)).toEqual(shapesOf(numbered(manifest('vae-diffusers'))));
    expect(shapesOf(file.components.get('text_encoder')!.weights)).toEqual(shapesOf(numbered(textModel())));
    expect(file.dropped.map(({ name }) => name)).toEqual(['betas', 'alphas_cumprod', 'first_stage_model.loss.logvar']);
  });

  test('Stable Diffusion XL: OpenCLIP becomes the second text encoder', () => {
    const file = openSingleFile(
      numbered({
        ...prefixed('model.diffusion_model.', original('sdxl-unet-diffusers', unetKeyMap)),
        ...prefixed('conditioner.embedders.0.transformer.', textModel()),
        ...prefixed('conditioner.embedders.1.model.', original('clip-g-transformers', clipKeyMap)),
        'conditioner.embedders.1.model.logit_scale': [],
        'denoiser.sigmas': [1000],
      }),
    );
    expect([...file.components.keys()]).toEqual(['unet', 'text_encoder', 'text_encoder_2']);
    expect(shapesOf(file.components.get('text_encoder_2')!.weights)).toEqual(
      shapesOf(numbered(manifest('clip-g-transformers'))),
    );
  });

  test('Stable Diffusion 3 is a transformer, at home in its original names', () => {
    const file = openSingleFile(numbered(manifest('sd3-original')));
    expect([...file.components.keys()]).toEqual(['transformer']);
    expect(file.components.get('transformer')).toMatchObject({ model: 'sd3', layout: 'original' });
  });

  test('a file of one bare model', () => {
    expect([...openSingleFile(numbered(manifest('flux-original'))).components.keys()]).toEqual(['transformer']);
    expect([...openSingleFile(numbered(original('vae-diffusers', vaeKeyMap))).components.keys()]).toEqual(['vae']);
  });

  test('averaged weights, whose names have no dots', async () => {
    const unet = original('sdxl-unet-diffusers', unetKeyMap);
    const small = Object.fromEntries(Object.keys(unet).map((name) => [name, [1]]));
    const trained = prefixed('model.diffusion_model.', small);
    const averaged = Object.fromEntries(
      Object.keys(small).map((name) => [`model_ema.diffusion_model${name.replaceAll('.', '')}`, [1]]),
    );
    const both = numbered({ ...trained, ...averaged, 'model_ema.decay': [], 'model_ema.num_updates': [] });
    const value = async (source: WeightSource, options: { ema?: boolean }) => {
      const { weights } = openSingleFile(source, options).components.get('unet')!;
      expect(weights.tensors.size).toBe(1680);
      return (await weights.read('conv_out.bias')).data[0];
    };
    const index = Object.keys(small).indexOf('out.2.bias');
    expect(await value(both, {})).toBe(1000 * index);
    expect(await value(both, { ema: true })).toBe(1000 * (1680 + index));
    // Only the averages: their dots are put back by the words that names are made of.
    expect(await value(numbered(averaged), {})).toBe(1000 * index);
    expect(() => openSingleFile(numbered(trained), { ema: true })).toThrow('has no averaged weights');
  });

  test('a tensor that belongs nowhere is named', () => {
    expect(() => openSingleFile(numbered({ ...sd1(), 'mystery.weight': [1] }))).toThrow(
      'mystery.weight: belongs to no known model',
    );
    expect(() => openSingleFile(numbered({ ...sd1(), 'model.diffusion_model.extra': [1] }))).toThrow(
      'extra: has no place',
    );
  });

  test('explain names every tensor of the file once as a source', () => {
    const source = numbered(sd1());
    const text = explain(openSingleFile(source)).join('\n');
    expect(text).toContain('unet: sd-unet, original layout, 686 tensors');
    expect(text).toContain('input_blocks.0.0.weight -> conv_in.weight');
    expect(text).toContain('not used: betas: the noise schedule');
    expect(text).toContain('encoder.mid.attn_1.q.weight -> encoder.mid_block.attentions.0.to_q.weight (a 1x1');
    expect(text.split('\n').length).toBe(source.tensors.size + 3);
  });
});

describe('folders and shards', () => {
  let folder: string;
  const state = (...names: string[]) =>
    Object.fromEntries(names.map((name, i) => [name, { shape: [2], data: Float32Array.of(i, i + 0.5) }]));
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mezzotint-folder-'));
    mkdirSync(join(folder, 'unet'));
    mkdirSync(join(folder, 'text_encoder'));
    await writeSafetensors(join(folder, 'unet/diffusion_pytorch_model.fp16.safetensors'), state('half'), {
      dtype: 'F16',
    });
    await writeSafetensors(join(folder, 'text_encoder/model-00001-of-00002.safetensors'), state('a', 'b'));
    await writeSafetensors(join(folder, 'text_encoder/model-00002-of-00002.safetensors'), state('c'));
    const [first, second] = [1, 2].map((n) => `model-0000${n}-of-00002.safetensors`);
    const index = { metadata: { total_size: 24 }, weight_map: { a: first, c: second, b: first } };
    writeFileSync(join(folder, 'text_encoder/model.safetensors.index.json'), JSON.stringify(index));
    writeFileSync(
      join(folder, 'model_index.json'),
      JSON.stringify({
        _class_name: 'StableDiffusionPipeline',
        requires_safety_checker: true,
        safety_checker: [null, null],
        text_encoder: ['transformers', 'CLIPTextModel'],
        unet: ['diffusers', 'UNet2DConditionModel'],
      }),
    );
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('shards are one source, each tensor read from its own file', async () => {
    const source = await readWeights(join(folder, 'text_encoder'));
    expect(await readAll(source)).toEqual({ ...state('a', 'b'), ...state('c') });
    source.close();
  });

  test('variants are asked for by name', async () => {
    await expect(readWeights(join(folder, 'unet'))).rejects.toThrow(
      'has no weights without a variant; it has: diffusion_pytorch_model.fp16.safetensors',
    );
    const half = await readWeights(join(folder, 'unet'), { variant: 'fp16' });
    expect((await half.read('half')).data).toEqual(Float32Array.of(0, 0.5));
    half.close();
  });

  test('a pipeline says its parts', () => {
    const pipeline = readPipelineFolder(folder);
    expect(pipeline.className).toBe('StableDiffusionPipeline');
    expect([...pipeline.components]).toEqual([
      ['text_encoder', 'CLIPTextModel'],
      ['unet', 'UNet2DConditionModel'],
    ]);
    expect(pipeline.folderOf('unet')).toBe(join(folder, 'unet'));
    expect(() => pipeline.folderOf('vae')).toThrow('has no part "vae"');
    const gone = join(folder, 'gone');
    mkdirSync(gone);
    writeFileSync(join(gone, 'model_index.json'), JSON.stringify({ _class_name: 'A', vae: ['diffusers', 'B'] }));
    expect(() => readPipelineFolder(gone).folderOf('vae')).toThrow('has no folder "vae", though its model_index.json');
    expect(() => readPipelineFolder(join(folder, 'unet'))).toThrow('has no model_index.json');
  });

  test('a pipeline gives its files, and its parts with their weights', async () => {
    const pipeline = readPipelineFolder(folder);
    // Python writes numbers that JSON has not.
    writeFileSync(join(folder, 'unet', 'config.json'), '{"width": 2, "least": -Infinity, "name": "-Infinity"}');
    expect(pipeline.json('unet/config.json')).toEqual({ width: 2, least: null, name: '-Infinity' });
    expect(pipeline.text('unet/config.json')).toContain('"width"');
    // A module that keeps what it is given, so that no engine is needed.
    class Halves extends Module {
      half: ArrayLike<number> = [];
      constructor(readonly config: unknown) {
        super();
      }
      override async load(weights: WeightSource): Promise<this> {
        this.half = (await weights.read('half')).data;
        return this;
      }
    }
    const part = await pipeline.load('unet', (config) => new Halves(config), { variant: 'fp16' });
    expect(part.config).toEqual({ width: 2, least: null, name: '-Infinity' });
    expect([...Array.from(part.half)]).toEqual([0, 0.5]);
    await expect(pipeline.load('vae', (config) => new Halves(config))).rejects.toThrow('has no part "vae"');
    expect(() => pipeline.text('unet/none.txt')).toThrow('no such file');
  });

  test.each([
    ['../secret', 'is not the name of a file beside the index'],
    ['none.safetensors', 'no such file'],
    ['model.safetensors.index.json', 'which is JSON'],
    ['model-00002-of-00002.safetensors', 'lacks a; model-00002-of-00002.safetensors holds c'],
  ])('an index that names %s', async (shard, problem) => {
    const path = join(folder, 'text_encoder/bad.index.json');
    writeFileSync(path, JSON.stringify({ weight_map: { a: shard } }));
    await expect(readWeights(path)).rejects.toThrow(problem);
  });

  test('formats are told by their bytes, whatever the name', async () => {
    const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
    expect((await readWeights(fixture('torch/dtypes-legacy.pt'))).tensors.size).toBe(10);
    expect((await readWeights(fixture('torch/hostile.ckpt'))).tensors.size).toBe(2);
    expect((await readWeights(fixture('numpy/packed.npz'))).tensors.size).toBe(2);
    expect((await readWeights(fixture('numpy/one.npy'))).tensors.size).toBe(1);
    await expect(readWeights(fixture('make.py'))).rejects.toThrow('is no weight file');
    expect(() => readSafetensors(fixture('make.py'))).toThrow('not a safetensors file');
  });
});
