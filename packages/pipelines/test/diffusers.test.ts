import { join } from 'node:path';
import { useBackend } from '@mezzotint/backend';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type OpenPipelineOptions, openPipeline, type Pipeline, type Request } from '../src/node/index.js';
import { bitmapOf, compare, fixture, openGoldens, sampleFixture } from './support/goldens.js';
import { variant } from './support/variants.js';

const goldens = openGoldens(fixture('pipelines'));
const opened: Pipeline[] = [];

beforeAll(() => useBackend({ engine: 'cpu' }));
afterAll(() => {
  for (const pipeline of opened) pipeline.dispose();
});

async function open(path: string, options: OpenPipelineOptions = {}): Promise<Pipeline> {
  const pipeline = await openPipeline(path, options);
  opened.push(pipeline);
  return pipeline;
}

const zeroSnr = { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' };
const scheduler = 'scheduler/scheduler_config.json';
const picture = (height?: number, width?: number) => bitmapOf(goldens.read('picture'), height, width);
const mask = () => bitmapOf(goldens.read('mask'));

describe('Stable Diffusion 2', () => {
  test.each<[string, Request]>([
    ['sd2-v', {}],
    ['sd2-clip-skip', { clipSkip: 1 }],
    ['sd2-guidance-zero', {}],
    ['sd2-long', {}],
  ])('%s', async (name, more) => compare(goldens, name, await open(fixture('tiny-sd2')), more));

  test('zero terminal SNR, guidance rescaled', async () =>
    compare(goldens, 'sd2-zero-snr', await open(variant(fixture('tiny-sd2'), {}, { [scheduler]: zeroSnr }))));

  test('a start picture is cut to multiples of the autoencoder’s factor, not of 64', async () =>
    compare(goldens, 'sd2-img2img-odd', await open(fixture('tiny-sd2')), { image: picture(17, 25) }));

  test('the tiny autoencoder as VAE', async () => {
    const folder = variant(
      fixture('tiny-sd2'),
      { vae: fixture('tiny-vae') },
      { 'model_index.json': { vae: ['diffusers', 'AutoencoderTiny'] } },
    );
    await compare(goldens, 'sd2-tiny-vae', await open(folder));
  });
});

test('a latent consistency model: the guidance scale is an input of the UNet', async () => {
  const lcm = {
    'model_index.json': { _class_name: 'LatentConsistencyModelPipeline', scheduler: ['diffusers', 'LCMScheduler'] },
    [scheduler]: { _class_name: 'LCMScheduler', prediction_type: 'epsilon' },
  };
  const pipeline = await open(variant(fixture('tiny-sd2'), { unet: fixture('tiny-lcm-unet') }, lcm));
  expect(pipeline.defaults).toMatchObject({ steps: 4, guidance: 8.5 });
  await compare(goldens, 'lcm', pipeline);
  // Image to image takes all steps below the strength, as LatentConsistencyModelImg2ImgPipeline does; Stable Diffusion's own pipeline
  // skips the first ones.
  const startPicture = { prompt: 'a cat', image: picture(16, 16), seed: 1 };
  for (const steps of [4, 1]) {
    const counts: number[] = [];
    for await (const { count } of pipeline.steps({ ...startPicture, strength: 0.8, steps })) counts.push(count);
    expect(counts).toEqual(Array(steps).fill(steps));
  }
  await expect(pipeline.check({ ...startPicture, strength: 0.05 })).rejects.toThrow(
    /from 1 to 2 \(50 times, strength 0.05\), got 4/,
  );
  // It is called once a step: there is nothing to guide away from.
  const away = { negative: 'a dog', guidanceRescale: 0.5, guidanceInterval: [0, 1] as [number, number] };
  await expect(pipeline.check({ prompt: 'a cat', ...away })).rejects.toThrow(
    /negative[\s\S]*guidanceRescale[\s\S]*guidanceInterval/,
  );
});

test('the x4 upscaler: the small picture with noise of a level that the UNet is told', async () => {
  const parts = Object.fromEntries(
    ['text_encoder', 'tokenizer'].map((part) => [part, join(fixture('tiny-sd2'), part)]),
  );
  const pipeline = await open(variant(fixture('tiny-upscaler'), parts));
  await compare(goldens, 'upscaler', pipeline, { image: picture(8, 12), noiseLevel: 20 });
  await expect(pipeline.check({ prompt: 'x', image: picture(8, 12), noiseLevel: 351 })).rejects.toThrowError(
    /noiseLevel: expected at most 350, got 351/,
  );
  await expect(pipeline.check({ prompt: 'x' })).rejects.toThrowError(/image: this model needs one/);
});

describe('textual inversion', () => {
  const files = ['cat-toy.safetensors', 'my-style.pt', 'learned_embeds.bin'].map((name) => ({ path: fixture(name) }));

  test('one and several vectors of diffusers and of the web UI', async () =>
    compare(goldens, 'inversion', await open(fixture('tiny-sd2'), { textualInversion: files })));

  test('a pair for both encoders of SDXL', async () => {
    const pair = [{ path: fixture('pair.safetensors'), token: '<toy>' }];
    await compare(goldens, 'xl-inversion', await open(sampleFixture('tiny-sdxl'), { textualInversion: pair }));
  });

  test('one that is named like a word is refused, as all prompts with it would change', async () => {
    const named = (token: string) =>
      openPipeline(fixture('tiny-sd2'), { textualInversion: [{ path: fixture('cat-toy.safetensors'), token }] });
    for (const token of ['cat', '<|endoftext|>']) {
      await expect(named(token)).rejects.toThrow(/is a word of the vocabulary: give the file another token/);
    }
  });

  test('one that fits no text encoder is refused', async () => {
    await expect(
      openPipeline(sampleFixture('tiny-sdxl-refiner'), {
        textualInversion: [{ path: fixture('cat-toy.safetensors') }],
      }),
    ).rejects.toThrowError(/vectors of 12 fit no text encoder/);
    await expect(
      openPipeline(fixture('tiny-sd2'), { textualInversion: [{ path: fixture('tiny-vae') }] }),
    ).rejects.toThrow();
  });
});

describe('SDXL', () => {
  test('a second negative prompt alone would count for nothing; the refiner reads the first prompts', async () => {
    const base = await open(sampleFixture('tiny-sdxl'));
    await expect(base.check({ prompt: 'a cat', secondNegative: 'photo' })).rejects.toThrow(
      /secondNegative: needs a negative prompt/,
    );
    const alone = await open(sampleFixture('tiny-sdxl-refiner'));
    await expect(alone.check({ prompt: 'a cat', secondPrompt: 'dog' })).rejects.toThrow(
      /secondPrompt: .* does not take it/,
    );
  });

  test('second prompts, sizes, crop and clip skip', async () =>
    compare(goldens, 'xl-second', await open(sampleFixture('tiny-sdxl')), {
      ...{ secondPrompt: 'the dog', secondNegative: 'photo', clipSkip: 1 },
      ...{ originalSize: [64, 48], cropTopLeft: [3, 5], targetSize: [32, 40] },
    }));
  test('image to image', async () =>
    compare(goldens, 'xl-img2img', await open(sampleFixture('tiny-sdxl')), { image: picture(16, 24) }));
  test('inpainting', async () =>
    compare(
      goldens,
      'xl-inpaint',
      await open(sampleFixture('tiny-sdxl')),
      { image: picture(16, 24), mask: mask() },
      { last: 1 },
    ));
});
