import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { useBackend } from '@mezzotint/backend';
import { Flux } from '@mezzotint/mmdit';
import { relativeError } from '@mezzotint/testing';
import { fluxKeyMap, sd3KeyMap, vaeKeyMap } from '@mezzotint/weights';
import { beforeAll, describe, expect, test } from 'vitest';
import { withIdentityProjection } from '../src/families/mmdit/parts.js';
import { type OpenOptions, openPipeline, type Pipeline } from '../src/node/index.js';
import { fixture } from './support/goldens.js';
import { check, opened, schnellFolder, scratch } from './support/sd3-flux.js';
import {
  below,
  float8,
  int8ConvRot,
  jsonOf,
  nf4,
  originalOf,
  plain,
  type Scheme,
  type Stored,
  storedBy,
  type Tensors,
  widened,
  writeGguf,
  writeStored,
} from './support/stored-files.js';

beforeAll(async () => void (await useBackend()));

const stored = (tensors: Tensors): Record<string, Stored> =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, plain(tensor)]));

/** Configurations, tokenizers and scheduler of a folder of diffusers, without weights, under a name of its own. */
function withoutWeights(folder: string, name: string): string {
  const path = join(scratch, name);
  cpSync(folder, path, { recursive: true, filter: (file) => !file.endsWith('model.safetensors') });
  return path;
}

const part = (folder: string, name: string, map?: Parameters<typeof originalOf>[1]) =>
  originalOf(join(folder, name), map);

describe('Stable Diffusion 3.5 in original files makes the pictures of its folder', () => {
  const folder = fixture('tiny-sd3');
  let transformerAndVae: Record<string, Stored>;
  let encoders: Readonly<Record<'clip_l' | 'clip_g' | 't5xxl', Tensors>>;
  beforeAll(async () => {
    transformerAndVae = stored({
      ...below('model.diffusion_model.', await part(folder, 'transformer', sd3KeyMap)),
      ...below('first_stage_model.', await part(folder, 'vae', vaeKeyMap)),
    });
    encoders = {
      clip_l: await part(folder, 'text_encoder'),
      clip_g: await part(folder, 'text_encoder_2'),
      t5xxl: await part(folder, 'text_encoder_3'),
    };
  });

  test('with its encoders', async () => {
    const path = join(scratch, 'sd3.5_medium_incl_clips_t5xxl.safetensors');
    const texts = Object.entries(encoders).flatMap(([name, tensors]) =>
      Object.entries(below(`text_encoders.${name}.transformer.`, stored(tensors))),
    );
    const scale = plain({ shape: [], data: Float32Array.of(4.6) });
    writeStored(path, {
      ...transformerAndVae,
      ...Object.fromEntries(texts),
      'text_encoders.clip_l.logit_scale': scale,
      'text_encoders.t5xxl.logit_scale': scale,
    });
    const pipeline = await opened(path, { parts: withoutWeights(folder, 'sd3-settings') });
    expect(pipeline.description).toMatch(
      /Stable Diffusion 3.5.*; a checkpoint in ComfyUI's dialect, \d+ F32; holds transformer, vae, text_encoder, text_encoder_2, text_encoder_3$/,
    );
    await check('sd3', pipeline);
  });

  test('CLIP-L without a projection, as published in original files, has the identity', async () => {
    const path = join(scratch, 'sd3_medium_without_projection.safetensors');
    writeStored(path, transformerAndVae);
    const parts = withoutWeights(folder, 'sd3-identity');
    for (const name of ['text_encoder', 'text_encoder_2', 'text_encoder_3'])
      rmSync(join(parts, name), { recursive: true });
    const { 'text_projection.weight': _, ...bare } = encoders.clip_l;
    writeStored(join(parts, 'clip_l.safetensors'), stored(bare));
    writeStored(join(parts, 'clip_g.safetensors'), stored(encoders.clip_g));
    // This tiny one's own projection is not square, so the transformer does not take the identity's 12 channels.
    await expect(openPipeline(path, { parts })).rejects.toThrow(/CLIP-L and CLIP-G give 12 and 10 pooled channels/);
    const source = withIdentityProjection({
      name: 'clip_l',
      tensors: new Map([['text_model.embeddings.token_embedding.weight', { shape: [7, 3], dtype: 'F16' }]]),
      read: () => ({ shape: [7, 3], data: new Float32Array(21) }),
    });
    const projection = await source.read('text_projection.weight');
    expect(projection).toEqual({ shape: [3, 3], data: Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1) });
    expect(source.tensors.get('text_projection.weight')).toEqual({ shape: [3, 3], dtype: 'F32' });
  });

  test('without them, which loose files give; T5 may be absent', async () => {
    const path = join(scratch, 'sd3.5_medium.safetensors');
    writeStored(path, transformerAndVae);
    const bare = withoutWeights(folder, 'sd3-bare');
    for (const name of ['text_encoder', 'text_encoder_2', 'text_encoder_3'])
      rmSync(join(bare, name), { recursive: true });
    await expect(openPipeline(path, { parts: bare })).rejects.toThrow(
      /no text encoder; the option parts names a folder/,
    );
    const parts = withoutWeights(folder, 'sd3-loose');
    writeStored(join(parts, 'clip_l.safetensors'), stored(encoders.clip_l));
    writeStored(join(parts, 'clip_g.safetensors'), stored(encoders.clip_g));
    rmSync(join(parts, 'text_encoder_3'), { recursive: true });
    const short = await opened(path, { parts });
    expect(short.description).toMatch(
      /original names, \d+ F32; holds transformer, vae; text_encoder, text_encoder_2 from .*sd3-loose; no T5-XXL$/,
    );
    await check('sd3-no-t5', short);
    writeStored(join(parts, 't5xxl_fp16.safetensors'), stored(encoders.t5xxl));
    mkdirSync(join(parts, 'text_encoder_3'));
    cpSync(join(folder, 'text_encoder_3/config.json'), join(parts, 'text_encoder_3/config.json'));
    const whole = await opened(path, { parts });
    expect(whole.notes).toEqual([
      expect.stringMatching(/clip_l.safetensors: CLIP-L, names of transformers\S*, \d+ F32$/),
      expect.stringMatching(/clip_g.safetensors: CLIP-G, names of transformers\S*, \d+ F32$/),
      expect.stringMatching(/t5xxl_fp16.safetensors: T5-XXL, names of transformers, \d+ F32$/),
    ]);
    await check('sd3', whole);
  });
});

describe('FLUX.1 in original files makes the pictures of its folder', () => {
  const folder = fixture('tiny-flux-dev');

  test("Black Forest Labs' file, with the autoencoder's and the encoders' own", async () => {
    const path = join(scratch, 'flux1-dev.safetensors');
    writeStored(path, stored(await part(folder, 'transformer', fluxKeyMap)));
    const parts = withoutWeights(folder, 'flux-loose');
    await expect(openPipeline(path)).rejects.toThrow(
      /original names, \d+ F32; holds transformer; missing: vae \(the autoencoder\), text_encoder \(CLIP-L\), text_encoder_2 \(T5-XXL\)/,
    );
    writeStored(join(parts, 'ae.safetensors'), stored(await part(folder, 'vae', vaeKeyMap)));
    writeStored(join(parts, 'clip_l.safetensors'), stored(await part(folder, 'text_encoder')));
    writeStored(join(parts, 't5xxl_fp16.safetensors'), stored(await part(folder, 'text_encoder_2')));
    const pipeline = await opened(path, { parts });
    expect(pipeline.description).toMatch(
      /^FLUX.1 dev .*; original names, \d+ F32; holds transformer; vae, text_encoder, text_encoder_2 from /,
    );
    expect(pipeline.notes[0]).toMatch(/ae.safetensors: the autoencoder, original names, \d+ F32$/);
    await check('flux-dev', pipeline);
  });

  test("T5 as GGUF with llama.cpp's names, and its vocabulary in that file where no other is", async () => {
    const parts = withoutWeights(folder, 'flux-gguf-t5');
    cpSync(fixture('flux-files/tiny-t5-Q8_0.gguf'), join(parts, 't5-v1_1-xxl-encoder-Q8_0.gguf'));
    writeStored(join(parts, 'ae.safetensors'), stored(await part(folder, 'vae', vaeKeyMap)));
    writeStored(join(parts, 'clip_l.safetensors'), stored(await part(folder, 'text_encoder')));
    const path = join(scratch, 'flux1-dev-2.safetensors');
    writeStored(path, stored(await part(folder, 'transformer', fluxKeyMap)));
    const told = await opened(path, { parts });
    expect(told.notes.at(-2)).toMatch(/Q8_0.gguf: T5-XXL, GGUF in llama.cpp's dialect, 15 Q8_0, \d+ F32$/);
    expect(told.notes.at(-1)).toBe('text_encoder_2: 15 Q8_0 are widened to float32');
    await check('flux-t5-gguf', told);
    rmSync(join(parts, 'tokenizer_2'), { recursive: true });
    await check('flux-t5-gguf', await opened(path, { parts }));
    // A file of weights without a vocabulary needs a folder that has one.
    rmSync(join(parts, 't5-v1_1-xxl-encoder-Q8_0.gguf'));
    writeStored(join(parts, 't5xxl_fp16.safetensors'), stored(await part(folder, 'text_encoder_2')));
    await expect(openPipeline(path, { parts })).rejects.toThrow(/T5 needs its vocabulary, which .*t5xxl_fp16/);
  });

  test('DoRA and LoKr, as peft merges them', async () => {
    for (const [name, tensors] of [
      ['dora', 27],
      ['lokr', 20],
    ] as const) {
      const path = fixture(`flux-files/tiny-${name}.safetensors`);
      const pipeline = await opened(folder, { lora: [{ path }] });
      expect(pipeline.notes).toContain(`${path}: applied ${tensors} of ${tensors} tensors`);
      await check(`flux-${name}`, pipeline);
    }
  });
});

describe('LoRA as diffusers’ pipelines load and fuse them', () => {
  test.each([
    ['sd3-lora', 'tiny-sd3', 'sd3-peft', 0.8, 12],
    ['flux-lora', 'tiny-flux-dev', 'flux-peft', 0.7, 12],
    ['flux-lora-kohya', 'tiny-flux-dev', 'flux-kohya', 1.2, 12],
  ])('%s', async (name, folder, file, scale, tensors) => {
    const path = fixture(`lora-files/${file}.safetensors`);
    const pipeline = await opened(fixture(folder), { lora: [{ path, scale }] });
    expect(pipeline.notes).toContain(`${path}: applied ${tensors} of ${tensors} tensors`);
    await check(name, pipeline);
  });
});

/** What a pipeline makes of one request: the last latents and the picture. */
async function made(path: string, options: OpenOptions): Promise<{ x: Float32Array; pipeline: Pipeline }> {
  const pipeline = await opened(path, options);
  let x = new Float32Array();
  const request = { prompt: 'a red cat', height: 16, width: 24, steps: 2, seed: 5, textLength: 32 };
  for await (const step of pipeline.steps(request)) x = step.x.dataSync<'float32'>().slice();
  return { x, pipeline };
}

describe('quantised files make the pictures of their dequantised weights', () => {
  let folder: string;
  let original: Tensors;
  let unquantised: Float32Array;
  beforeAll(async () => {
    folder = await schnellFolder();
    original = await part(folder, 'transformer', fluxKeyMap);
    const path = join(scratch, 'flux1-schnell.safetensors');
    writeStored(path, stored(original));
    unquantised = (await made(path, { parts: folder })).x;
  });

  test.each<[string, Scheme, string, RegExp]>([
    ['float8 e4m3, cast', float8('F8_E4M3', false), '', /original names, \d+ F32, \d+ F8_E4M3;/],
    [
      'float8 e5m2, cast',
      float8('F8_E5M2', false),
      'model.diffusion_model.',
      /a transformer in ComfyUI's dialect, \d+ F32, \d+ F8_E5M2;/,
    ],
    ['float8 e4m3, scaled', float8('F8_E4M3', true), '', /\d+ scaled float8/],
    ['NF4', nf4, 'model.diffusion_model.', /\d+ bitsandbytes 4 bits/],
    ['INT8 ConvRot', int8ConvRot, '', /\d+ int8 ConvRot/],
  ])('%s', async (name, scheme, prefix, description) => {
    const { stored: file, wide } = storedBy(scheme, original);
    const path = join(scratch, `flux1-${name.replaceAll(/\W+/g, '-')}.safetensors`);
    writeStored(path, below(prefix, file));
    writeStored(`${path}-wide.safetensors`, stored(wide));
    const quantised = await made(path, { parts: folder });
    expect(quantised.pipeline.description).toMatch(description);
    expect(quantised.pipeline.notes).toEqual([expect.stringMatching(/^transformer: \d+ .* are widened to float32$/)]);
    const expected = await made(`${path}-wide.safetensors`, { parts: folder });
    // The same numbers but for the order in which a rotation is summed.
    expect(relativeError(quantised.x, expected.x)).toBeLessThan(1e-5);
    expect(relativeError(quantised.x, unquantised)).toBeGreaterThan(1e-3);
  });

  test('an all-in-one checkpoint, all of it in float8', async () => {
    const scheme = float8('F8_E4M3', false);
    const models = {
      'model.diffusion_model.': original,
      'text_encoders.clip_l.transformer.': await part(folder, 'text_encoder'),
      'text_encoders.t5xxl.transformer.': await part(folder, 'text_encoder_2'),
    };
    const vae = below('vae.', stored(await part(folder, 'vae', vaeKeyMap)));
    const all = { stored: { ...vae }, wide: { ...vae } };
    for (const [prefix, tensors] of Object.entries(models)) {
      const one = storedBy(scheme, tensors);
      Object.assign(all.stored, below(prefix, one.stored));
      Object.assign(all.wide, below(prefix, stored(one.wide)));
    }
    const [path, wide] = ['fp8', 'wide'].map((name) => join(scratch, `flux1-schnell-${name}-all.safetensors`)) as [
      string,
      string,
    ];
    writeStored(path, all.stored);
    writeStored(wide, all.wide);
    const parts = withoutWeights(folder, 'schnell-settings');
    const quantised = await made(path, { parts });
    expect(quantised.pipeline.description).toMatch(
      /a checkpoint in ComfyUI's dialect, \d+ F32, \d+ F8_E4M3; holds transformer, vae, text_encoder, text_encoder_2$/,
    );
    expect(relativeError(quantised.x, (await made(wide, { parts })).x)).toBeLessThan(1e-5);
  });

  test.each<[string, string | undefined, RegExp]>([
    ['ComfyUI-GGUF', 'flux', /GGUF in ComfyUI-GGUF's dialect/],
    ['stable-diffusion.cpp', undefined, /GGUF in stable-diffusion.cpp's dialect/],
  ])("Q2_K to Q6_K in %s's dialect", async (_, architecture, dialect) => {
    // Their blocks are 256 weights long, so the network is wider than the others here.
    const config = { ...jsonOf(join(folder, 'transformer/config.json')) };
    const flux = new Flux({
      ...{ patchSize: 2, channels: 4, depth: 1, singleDepth: 1, width: 256, heads: 4, mlpRatio: 1, qkvBias: true },
      ...{ contextWidth: config.joint_attention_dim as number, pooledWidth: config.pooled_projection_dim as number },
      ...{ guidanceEmbed: false, rotaryAxes: [8, 28, 28], rotaryTheta: 10_000 },
    }).init(3);
    const saved = await flux.save();
    flux.dispose();
    const tensors: Tensors = {};
    for (const [name, tensor] of Object.entries(saved)) tensors[name] = tensor as Tensors[string];
    const name = (architecture ?? 'sd').slice(0, 4);
    const path = join(scratch, `${name}-k.gguf`);
    const prefix = architecture === undefined ? 'model.diffusion_model.' : '';
    writeGguf(path, below(prefix, tensors), ['Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'], architecture);
    const wide = join(scratch, `${name}-k-wide.safetensors`);
    writeStored(wide, stored(await widened(path)));
    const parts = join(scratch, `${name}-parts`);
    mkdirSync(parts);
    cpSync(folder, parts, { recursive: true, filter: (file) => !file.includes('transformer') });
    const { x, pipeline } = await made(path, { parts });
    expect(pipeline.description).toMatch(dialect);
    for (const type of ['Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K']) expect(pipeline.description).toContain(type);
    const { notes } = await opened(path, { parts, weights: 'int4' });
    expect(notes).toEqual([expect.stringMatching(/^transformer: \d+ Q4_K, \d+ Q6_K.* are brought to int4$/)]);
    expect(x.every(Number.isFinite)).toBe(true);
    expect(relativeError(x, (await made(wide, { parts })).x)).toBeLessThan(1e-5);
  });
});

describe('what is not FLUX.1 dev or schnell is refused by name', () => {
  test.each([
    ['FluxKontextPipeline', /is FLUX.1 Kontext by its pipeline FluxKontextPipeline, which is given a picture/],
    ['FluxFillPipeline', /is FLUX.1 Fill by its pipeline/],
    ['FluxControlPipeline', /is FLUX.1 Canny or Depth by its pipeline/],
    ['FluxControlNetPipeline', /is a FLUX ControlNet by its pipeline/],
    ['FluxPriorReduxPipeline', /is FLUX.1 Redux by its pipeline/],
    ['ChromaPipeline', /is Chroma by its pipeline/],
    ['Flux2Pipeline', /is FLUX.2 by its pipeline/],
  ])('a folder of %s', async (className, message) => {
    const folder = join(scratch, className);
    mkdirSync(folder);
    writeFileSync(join(folder, 'model_index.json'), JSON.stringify({ _class_name: className }));
    await expect(openPipeline(folder)).rejects.toThrow(message);
  });

  const block = 'double_blocks.0.img_attn.qkv.weight';
  test.each<[string, Record<string, readonly number[]>, RegExp]>([
    [
      'Chroma1-HD.safetensors',
      {
        [`model.diffusion_model.${block}`]: [96, 32],
        'model.diffusion_model.distilled_guidance_layer.in_proj.weight': [4, 4],
      },
      /is Chroma by its tensor distilled_guidance_layer.in_proj.weight, which has one network for all modulations and is not built/,
    ],
    [
      'chroma-radiance.safetensors',
      { [block]: [96, 32], 'nerf_blocks.0.weight': [4] },
      /is Chroma Radiance by its tensor/,
    ],
    ['flux1-redux-dev.safetensors', { 'redux_down.weight': [4, 4], 'redux_up.weight': [4, 4] }, /is FLUX.1 Redux/],
    ['flux2-dev.safetensors', { [block]: [96, 32], 'double_stream_modulation_img.lin.weight': [4, 4] }, /is FLUX.2/],
    ['flux1-kontext-dev.safetensors', { [block]: [96, 32] }, /is FLUX.1 Kontext by its name/],
  ])('%s', async (name, shapes, message) => {
    const path = join(scratch, name);
    const tensors = Object.entries(shapes).map(([key, shape]) => {
      const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
      return [key, plain({ shape, data })];
    });
    writeStored(path, Object.fromEntries(tensors));
    await expect(openPipeline(path)).rejects.toThrow(message);
  });

  test('Fill, Canny and Depth by their wider input', async () => {
    const path = join(scratch, 'flux1-fill-dev.safetensors');
    const tensors = stored(await part(fixture('tiny-flux-dev'), 'transformer', fluxKeyMap));
    writeStored(path, { ...tensors, 'img_in.weight': plain({ shape: [32, 96], data: new Float32Array(32 * 96) }) });
    await expect(openPipeline(path)).rejects.toThrow(/96 in and 16 out: .*\(FLUX.1 Fill, Canny or Depth\)/);
  });
});
