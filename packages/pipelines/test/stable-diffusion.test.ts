import { join } from 'node:path';
import { useBackend } from '@mezzotint/backend';
import type { Bitmap } from '@mezzotint/data/pixels';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPipeline, type Pipeline, type Request, type SavedPipelineRun } from '../src/node/index.js';
import { bitmapOf, type CompareOptions, compare, openGoldens, sampleFixture } from './support/goldens.js';
import { withScheduler } from './support/variants.js';

const goldens = openGoldens(sampleFixture('stable-diffusion'));
const pipelines: Record<string, Pipeline> = {};

beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  for (const name of ['tiny-sd', 'tiny-sdxl']) pipelines[name] = await openPipeline(sampleFixture(name));
  pipelines.refined = await openPipeline(sampleFixture('tiny-sdxl'), { refiner: sampleFixture('tiny-sdxl-refiner') });
});
afterAll(() => {
  for (const pipeline of Object.values(pipelines)) pipeline.dispose();
});

const check = (name: string, folder: string, more: Request = {}, options: CompareOptions = {}) =>
  compare(goldens, name, pipelines[folder]!, more, options);
const image = () => bitmapOf(goldens.read('picture'));
const mask = () => bitmapOf(goldens.read('mask'));

/** Runs a golden of Stable Diffusion 1 with its scheduler in the folder. */
async function checkScheduler(
  name: string,
  more: Request = {},
  options: CompareOptions = {},
  parts: Readonly<Record<string, string>> = {},
): Promise<void> {
  const folder = withScheduler(sampleFixture('tiny-sd'), goldens.cases[name]!.scheduler, parts);
  const pipeline = await openPipeline(folder);
  await compare(goldens, name, pipeline, more, options);
  pipeline.dispose();
}

describe('pictures of diffusers’ pipelines, step by step, from a folder', () => {
  test('text to image with the folder’s scheduler', () => check('sd-pndm', 'tiny-sd'));
  test.each(['sd-no-guidance', 'sd-dpmpp-karras', 'sd-unipc', 'sd-euler-ancestral', 'sd-zero-snr-rescale', 'sd-lcm'])(
    '%s',
    (name) => checkScheduler(name),
  );
  test('SDXL: two encoders, sizes, zeros for no negative prompt', () => check('xl', 'tiny-sdxl'));
  test('SDXL with a negative prompt', () => check('xl-negative', 'tiny-sdxl'));
  test('the base hands over to the refiner', () => check('xl-refiner', 'refined', { denoisingEnd: 0.6 }, { last: 2 }));
  test('the same when each model is freed as soon as its work is done', async () => {
    const refiner = sampleFixture('tiny-sdxl-refiner');
    pipelines.frees = await openPipeline(sampleFixture('tiny-sdxl'), { refiner, freeText: true });
    const tensors = tf.memory().numTensors;
    await check('xl-refiner', 'frees', { denoisingEnd: 0.6 }, { last: 2 });
    expect(tf.memory().numTensors).toBe(tensors);
  });
});

describe('image to image and inpainting', () => {
  test.each([
    ['sd-img2img', 'DDIM'],
    ['sd-img2img-full', 'at full strength the picture is noised, not left out'],
    ['sd-img2img-pndm', 'a solver with a memory'],
    ['sd-img2img-lms', 'a solver with a memory'],
  ])('%s: %s', (name) => checkScheduler(name, { image: image() }));

  // Outside a mask theirs replaces what the solver has after each step, ours what the network sees: the last step is the same.
  test.each([
    ['sd-inpaint', 'DDIM'],
    ['sd-inpaint-ancestral', 'fresh noise stays inside the mask'],
    ['sd-inpaint-full', 'the first level is noise alone'],
    ['sd-inpaint-pndm', 'its second time is evaluated twice'],
    ['sd-inpaint-lcm', 'a consistency model'],
  ])('a UNet that does not see the mask: %s, %s', (name) =>
    checkScheduler(name, { image: image(), mask: mask() }, { last: 1 }),
  );

  test.each(['sd-inpaint-seeing', 'sd-inpaint-seeing-part'])('a UNet that sees mask and picture: %s', (name) =>
    checkScheduler(
      name,
      { image: image(), mask: mask() },
      {},
      { unet: join(sampleFixture('tiny-sd-inpainting'), 'unet') },
    ),
  );
});

test('running twice leaks no tensor', async () => {
  const pipeline = pipelines['tiny-sd']!;
  const request = { prompt: 'cat', height: 8, width: 8, steps: 2, count: 2 } as const;
  await pipeline.generate(request);
  const before = tf.memory().numTensors;
  const { images } = await pipeline.generate(request);
  expect(images.length).toBe(2);
  expect(tf.memory().numTensors).toBe(before);
});

test('a picture does not depend on the batch that it is made in', async () => {
  const request = { prompt: 'cat', height: 8, width: 8, steps: 2, seed: 5, count: 3 } as const;
  const pipeline = pipelines['tiny-sd']!;
  const [one, three] = [
    await pipeline.generate({ ...request, batch: 1 }),
    await pipeline.generate({ ...request, batch: 3 }),
  ];
  one.images.forEach(({ data }, i) => {
    data.forEach((value, at) => {
      expect(Math.abs(value - three.images[i]!.data[at]!)).toBeLessThanOrEqual(1); // another order of sums
    });
  });
});

test('guidance of at most 1 is the conditional prediction alone, as in diffusers', async () => {
  const pipeline = pipelines['tiny-sd']!;
  const of = async (prompt: string, guidance: number) =>
    (await pipeline.generate({ prompt, guidance, height: 8, width: 8, steps: 2 })).images[0]!.data;
  expect(await of('a red cat', 0)).toEqual(await of('a red cat', 1));
  expect(await of('a red cat', 0)).not.toEqual(await of('blue dog dog dog', 0));
});

test('a request is checked as a whole, before any weights are read', async () => {
  const pipeline = await openPipeline(sampleFixture('tiny-sd'));
  const before = tf.memory().numTensors;
  await expect(pipeline.check({ steps: 0, prompt: 'x', secondPrompt: 'y', magic: 1 } as Request)).rejects.toThrowError(
    /steps[\s\S]*magic[\s\S]*secondPrompt: Stable Diffusion 1, 2, XL does not take it/,
  );
  await expect(pipeline.check({ prompt: 'x', height: 9, strength: 0.5 })).rejects.toThrowError(
    /height: expected a multiple of 2, got 9[\s\S]*strength: needs an image/,
  );
  await expect(pipeline.check({ steps: 3 })).rejects.toThrowError(/takes a prompt, got none/);
  expect(tf.memory().numTensors).toBe(before);
  pipeline.dispose();
});

test('a run goes on from where it was saved, with the same picture', async () => {
  const pipeline = pipelines['tiny-sd']!;
  const request = { prompt: 'cat', height: 8, width: 8, steps: 4, solver: 'euler-ancestral', count: 2 } as const;
  const whole = await pipeline.generate(request);
  let saved: SavedPipelineRun | undefined;
  let count = 0;
  for await (const step of pipeline.steps(request)) {
    if (++count === 6) {
      saved = await step.save();
      break;
    }
  }
  const images: Bitmap[] = [];
  for await (const step of pipeline.steps(request, { from: saved })) images.push(...(step.images ?? []));
  expect(images.length).toBe(1); // the first picture was done
  expect(images[0]!.data).toEqual(whole.images[1]!.data);
});
