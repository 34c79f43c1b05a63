import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AutoencoderKL, autoencoderKLFromDiffusers } from '@mezzotint/autoencoders';
import { useBackend } from '@mezzotint/backend';
import { type Module, TorchGenerator } from '@mezzotint/core';
import { relativeError } from '@mezzotint/testing';
import { ClipTextModel, clipTextFromTransformers, clipTokenizer, encodeSdPrompts } from '@mezzotint/text-encoders';
import {
  UViT,
  type UViTConfig,
  uvitFromOriginal,
  uvitH2,
  uvitH4At512,
  uvitL2,
  uvitL4At512,
  uvitTextToImageFromOriginal,
} from '@mezzotint/uvit';
import { openComponent } from '@mezzotint/weights';
import { readJson, readText, readWeights, writeSafetensors } from '@mezzotint/weights/node';
import { ZigMa, zigmaFromOriginal } from '@mezzotint/zigma';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { uvitFamily } from '../src/families/uvit.js';
import type { OpenContext } from '../src/family.js';
import { diskFiles } from '../src/node/files.js';
import { openPipeline, type Pipeline, type Request } from '../src/node/index.js';
import { sampleFixture } from './support/goldens.js';

let folder: string;
const path = (name: string) => join(folder, name);

/** Random weights where nothing is zero, in a file. */
async function written(model: Module, name: string): Promise<void> {
  const rng = new TorchGenerator(1);
  const state = Object.fromEntries(
    [...model.params()].map(([key, param]) => [
      key,
      { shape: param.fileShape, data: rng.randn(param.size).map((n) => 0.3 * n) },
    ]),
  );
  await model.load(state);
  await writeSafetensors(path(name), state);
}

const tiny = { img_size: 8, patch_size: 2, embed_dim: 64, depth: 2, num_heads: 1 };
const pixels = new UViT(uvitFromOriginal(tiny));
const latents = new UViT(uvitFromOriginal({ ...tiny, in_chans: 4, num_classes: 1001 }, { nullLabel: true }));
const zigma = new ZigMa(
  zigmaFromOriginal({
    img_dim: 8,
    in_channels: 3,
    patch_size: 2,
    embed_dim: 16,
    depth: 2,
    scan_type: 'zigzagN8',
    use_pe: 2,
  }),
);

/** Networks of text that read what the tiny Stable Diffusion's CLIP says: 77 tokens of 12 channels. */
const captions = new UViT(uvitTextToImageFromOriginal({ ...tiny, in_chans: 4, clip_dim: 12, num_clip_token: 77 }));
const zigmaText = new ZigMa(
  zigmaFromOriginal({
    ...{ img_dim: 8, in_channels: 4, patch_size: 2, embed_dim: 16, depth: 2, scan_type: 'zigzagN8', use_pe: 2 },
    ...{ has_text: true, n_context_token: 77, d_context: 12 },
  }),
);

beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  folder = mkdtempSync(join(tmpdir(), 'single-network-'));
  await written(pixels, 'cifar.safetensors');
  await written(latents, 'imagenet.safetensors');
  await written(zigma, 'zigma.safetensors');
  await written(captions, 'mscoco.safetensors');
  await written(zigmaText, 'zigma-coco.safetensors');
  mkdirSync(path('vae'));
  const config = {
    _class_name: 'AutoencoderKL',
    block_out_channels: [4, 4],
    down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D'],
    up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D'],
    layers_per_block: 1,
    latent_channels: 4,
    norm_num_groups: 2,
  };
  writeFileSync(path('vae/config.json'), JSON.stringify(config));
  const vae = new AutoencoderKL(autoencoderKLFromDiffusers(config)).init(3);
  await writeSafetensors(path('vae/diffusion_pytorch_model.safetensors'), await vae.save());
  vae.dispose();
});
afterAll(() => {
  for (const model of [pixels, latents, zigma, captions, zigmaText]) model.dispose();
  rmSync(folder, { recursive: true });
});

/** The noise of a run's one step and what came of it. */
async function oneStep(pipeline: Pipeline, request: Request): Promise<{ x0: Float32Array; shape: number[] }> {
  for await (const { x0 } of pipeline.steps({ seed: 5, steps: 1, ...request })) {
    return { x0: x0.dataSync<'float32'>().slice(), shape: [...x0.shape] };
  }
  throw new Error('no step');
}

/** The noise of seed 5, NHWC. */
const noise = (channels: number) =>
  tf.transpose(tf.tensor4d(new TorchGenerator(5).randn(64 * channels), [1, channels, 8, 8]), [0, 2, 3, 1]);

// float32 with the same numbers in another order.
const bar = 1e-4;

describe('U-ViT', () => {
  test('pixels: the estimate from pure noise, told 999 t of the continuous process', async () => {
    const pipeline = await openPipeline(path('cifar.safetensors'));
    expect(pipeline.family).toBe('U-ViT');
    const { x0, shape } = await oneStep(pipeline, {});
    expect(shape).toEqual([1, 8, 8, 3]);
    // The last of 1000 linear betas from 1e-4 to 0.02, and t of the continuous process there.
    const [alpha, sigma] = [Math.sqrt(4.0358297e-5), Math.sqrt(1 - 4.0358297e-5)];
    const x = tf.mul(noise(3), sigma) as tf.Tensor4D;
    const t = (Math.sqrt(0.01 + 2 * 19.9 * -Math.log(4.0358297e-5)) - 0.1) / 19.9;
    const eps = pixels.forward(x, tf.tensor1d([999 * t]));
    const estimate = tf.clipByValue(tf.div(tf.sub(x, tf.mul(eps, sigma)), alpha), -1, 1);
    expect(relativeError(x0, estimate.dataSync())).toBeLessThan(bar);
    pipeline.dispose();
  });

  test('latent images: labels, guidance towards them from the null label, and pictures twice as large', async () => {
    const pipeline = await openPipeline(path('imagenet.safetensors'), { parts: path('vae') });
    const run = async (request: Request) => (await oneStep(pipeline, request)).x0;
    // The chain's last level, which these networks call 1000.
    const [alpha, sigma] = [Math.sqrt(0.00466009508818388), Math.sqrt(1 - 0.00466009508818388)];
    const x = tf.mul(noise(4), sigma) as tf.Tensor4D;
    const estimate = (label: number) => {
      const eps = latents.forward(x, tf.tensor1d([1000]), { labels: tf.tensor1d([label], 'int32') });
      return tf.div(tf.sub(x, tf.mul(eps, sigma)), alpha).dataSync();
    };
    const [seven, free] = [estimate(7), estimate(1000)];
    expect(relativeError(seven, free)).toBeGreaterThan(1e-3);
    expect(relativeError(await run({ labels: '7', guidance: 1 }), seven)).toBeLessThan(bar);
    const guided = seven.map((v, i) => free[i]! + 1.4 * (v - free[i]!));
    expect(relativeError(await run({ labels: '7', guidance: 1.4 }), guided)).toBeLessThan(bar);
    const { images } = await pipeline.generate({ labels: '7', seed: 1, steps: 2 });
    expect(images[0]).toMatchObject({ height: 16, width: 16 });
    // Without labels a few of ImageNet's classes, as of every other model of 1000.
    expect(pipeline.defaults).toMatchObject({ labels: '207,360,387,974,88,979,417,279', guidance: 1.4 });
    pipeline.dispose();
  });

  test('latent images of the continuous process: told 999 t, estimates not clipped', async () => {
    const pipeline = await openPipeline(path('imagenet.safetensors'), { parts: path('vae'), betas: 'linear' });
    const { x0 } = await oneStep(pipeline, { labels: '7', guidance: 1 });
    const [alpha, sigma] = [Math.sqrt(4.0358297e-5), Math.sqrt(1 - 4.0358297e-5)];
    const x = tf.mul(noise(4), sigma) as tf.Tensor4D;
    const t = (Math.sqrt(0.01 + 2 * 19.9 * -Math.log(4.0358297e-5)) - 0.1) / 19.9;
    const eps = latents.forward(x, tf.tensor1d([999 * t]), { labels: tf.tensor1d([7], 'int32') });
    expect(relativeError(x0, tf.div(tf.sub(x, tf.mul(eps, sigma)), alpha).dataSync())).toBeLessThan(bar);
    pipeline.dispose();
    await expect(openPipeline(path('imagenet.safetensors'), { parts: path('vae'), betas: 'cosine' })).rejects.toThrow(
      /betas: expected linear or scaled-linear/,
    );
    await expect(openPipeline(path('cifar.safetensors'), { betas: 'linear' })).rejects.toThrow(/has no use for it/);
  });

  /** The last of 1000 betas, and what it is called: t of the continuous process there, or the step. */
  const linear = {
    alpha: Math.sqrt(4.0358297e-5),
    time: (999 * (Math.sqrt(0.01 + 2 * 19.9 * -Math.log(4.0358297e-5)) - 0.1)) / 19.9,
  };
  const scaledLinear = { alpha: Math.sqrt(0.00466009508818388), time: 1000 };

  // configs/imagenet*_uvit_large.py are of train_ldm.py (sde.VPSDE), the others of train_ldm_discrete.py; sample.scale is 0.4 and 0.7.
  test.each([
    ['L/2 at 256', uvitL2.config, { ...linear, guidance: 1.4 }],
    ['L/4 at 512', uvitL4At512.config, { ...linear, guidance: 1.7 }],
    ['H/2 at 256', uvitH2.config, { ...scaledLinear, guidance: 1.4 }],
    ['H/4 at 512', uvitH4At512.config, { ...scaledLinear, guidance: 1.7 }],
  ])('the published %s: its process, what it is told at pure noise, its guidance', async (_, config, expected) => {
    const definition = await openedByShapes(config);
    const { alpha, time } = definition.stages[0]!.sampler.schedule({ steps: 1 });
    expect(alpha[0]).toBeCloseTo(expected.alpha, 6);
    expect(time![0]).toBeCloseTo(expected.time, 3);
    expect(definition.defaults.guidance).toBe(expected.guidance);
    definition.close();
  });

  /** A model opened by names and shapes alone, which is all that opening reads. */
  function openedByShapes(config: UViTConfig) {
    const params = [...new UViT(config).params()];
    const tensors = new Map(params.map(([name, { fileShape }]) => [name, { shape: fileShape, dtype: 'F32' }]));
    const read = () => Promise.reject(new Error('opening reads no weights'));
    const source = { name: 'uvit.pth', metadata: new Map(), tensors, read, close: () => {} };
    const files = diskFiles(path('imagenet.safetensors'));
    const context = { options: { parts: path('vae') }, files: diskFiles, note: () => {} } as unknown as OpenContext;
    return uvitFamily.open({ files, source, index: null, config: null, single: null, singleError: null }, context);
  }

  test('what is missing or does not fit is said', async () => {
    await expect(openPipeline(path('imagenet.safetensors'))).rejects.toThrow(
      /is a U-ViT of latent images: name a folder/,
    );
    const pipeline = await openPipeline(path('cifar.safetensors'));
    await expect(pipeline.generate({ labels: '1' })).rejects.toThrow(/labels: U-ViT does not take it/);
    await expect(pipeline.generate({ guidance: 2 })).rejects.toThrow(/guidance: U-ViT does not take it/);
    pipeline.dispose();
  });
});

describe('ZigMa', () => {
  test('the step from pure noise to data follows the velocity at time 0', async () => {
    const pipeline = await openPipeline(path('zigma.safetensors'));
    expect(pipeline.family).toBe('ZigMa');
    const x = noise(3);
    const { x0 } = await oneStep(pipeline, {});
    const expected = tf.add(x, zigma.forward(x, tf.tensor1d([0])));
    expect(relativeError(x0, expected.dataSync())).toBeLessThan(bar);
    pipeline.dispose();
  });
});

describe('models of text, with CLIP and the autoencoder of a Stable Diffusion 1', () => {
  const parts = sampleFixture('tiny-sd');
  const context: Record<string, tf.Tensor3D> = {};

  beforeAll(async () => {
    // What CLIP says of the prompts, by its own package.
    const encoder = new ClipTextModel(clipTextFromTransformers(readJson(join(parts, 'text_encoder/config.json'))));
    const file = await readWeights(join(parts, 'text_encoder'));
    await encoder.load(openComponent(file).weights);
    file.close();
    const tokenizer = clipTokenizer({
      vocab: readJson(join(parts, 'tokenizer/vocab.json')),
      merges: readText(join(parts, 'tokenizer/merges.txt')),
    });
    for (const prompt of ['a red cat', 'blue', ''])
      context[prompt] = encodeSdPrompts({ encoder, tokenizer }, [prompt], { syntax: 'plain', maxChunks: 1 });
    encoder.dispose();
  });
  afterAll(() => tf.dispose(context));

  test.each<[string, string, (x: tf.Tensor4D, context: tf.Tensor3D) => tf.Tensor]>([
    [
      'U-ViT',
      'mscoco.safetensors',
      (noise, context) => {
        const [alpha, sigma] = [Math.sqrt(0.00466009508818388), Math.sqrt(1 - 0.00466009508818388)];
        const x = tf.mul(noise, sigma) as tf.Tensor4D;
        return tf.div(tf.sub(x, tf.mul(captions.forward(x, tf.tensor1d([1000]), { context }), sigma)), alpha);
      },
    ],
    ['ZigMa', 'zigma-coco.safetensors', (x, context) => tf.add(x, zigmaText.forward(x, tf.tensor1d([0]), { context }))],
  ])('%s: prompts, guidance away from the negative one, pictures', async (family, file, estimate) => {
    const pipeline = await openPipeline(path(file), { parts });
    expect(pipeline.family).toBe(family);
    expect(pipeline.description).toMatch(/8 x 8 x 4, text$/);
    // COCO's U-ViT has scale 1, from zero; ZigMa's training drops no captions.
    expect(pipeline.defaults.guidance).toBe(family === 'U-ViT' ? 2 : 1);
    const run = async (request: Request) => (await oneStep(pipeline, { prompt: 'a red cat', ...request })).x0;
    const of = (prompt: string) => tf.tidy(() => estimate(noise(4), context[prompt]!).dataSync());
    const [cat, blue, none] = ['a red cat', 'blue', ''].map(of) as [Float32Array, Float32Array, Float32Array];
    expect(relativeError(cat, none)).toBeGreaterThan(1e-3);
    expect(relativeError(await run({ guidance: 1 }), cat)).toBeLessThan(bar);
    const guided = (away: Float32Array) => cat.map((v, i) => away[i]! + 3 * (v - away[i]!));
    expect(relativeError(await run({ guidance: 3 }), guided(none))).toBeLessThan(bar);
    expect(relativeError(await run({ guidance: 3, negative: 'blue' }), guided(blue))).toBeLessThan(bar);
    // Each prompt of a batch is its own: the pictures are those of single runs, in several steps.
    const asked = { prompt: ['a red cat', 'the dog'], steps: 3, seed: 4, guidance: 2 };
    const { images } = await pipeline.generate(asked);
    expect(images.map(({ height, width, channels }) => [height, width, channels])).toEqual([
      [16, 16, 3],
      [16, 16, 3],
    ]);
    const alone = await pipeline.generate({ ...asked, prompt: 'the dog', seed: 5 });
    expect([...images[1]!.data]).toEqual([...alone.images[0]!.data]);
    expect([...images[0]!.data]).not.toEqual([...images[1]!.data]);
    const notes: string[] = [];
    await pipeline.generate(
      { ...asked, steps: 1, prompt: `${'a red cat '.repeat(30)}blue` },
      { onNote: (line) => notes.push(line) },
    );
    expect(notes).toEqual([expect.stringMatching(/longer than 75 tokens; cut off: '.*blue'$/)]);
    pipeline.dispose();
  });

  test('without them it is said what to name', async () => {
    await expect(openPipeline(path('mscoco.safetensors'))).rejects.toThrow(
      /is a U-ViT of latent images: name a folder with their autoencoder and CLIP-L/,
    );
  });
});
