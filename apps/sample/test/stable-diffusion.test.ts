import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import type { StateDict } from '@mezzotint/core';
import { samplerFromDiffusers, torchNoise } from '@mezzotint/schedulers';
import { relativeError } from '@mezzotint/testing';
import { UNet2DCondition, unet2dConditionFromDiffusers } from '@mezzotint/unet';
import { readSafetensors, readWeights } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeLatents } from '../src/latent/decode.js';
import type { LatentModel } from '../src/latent/latent-model.js';
import { openLoaded } from '../src/latent/open-model.js';
import { type LatentPlan, sampleLatents } from '../src/latent/sample-latents.js';

interface Case {
  readonly seed: number;
  readonly scheduler: Record<string, unknown>;
  readonly prompt: string | readonly string[];
  readonly negative_prompt?: string;
  readonly height?: number;
  readonly width?: number;
  readonly num_inference_steps: number;
  readonly guidance_scale: number;
  readonly guidance_rescale?: number;
  readonly strength?: number;
}

const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const { cases } = JSON.parse(readFileSync(fixture('stable-diffusion.json'), 'utf8')) as { cases: Record<string, Case> };
const golden: StateDict = {};

/** A golden as NHWC, or `[steps, N, h, w, C]`. */
function expected(name: string): tf.Tensor {
  const { data, shape } = golden[name]!;
  const t = tf.tensor(data, [...shape]);
  if (name.endsWith('.images')) return t;
  const nhwc = tf.transpose(t, shape.length === 5 ? [0, 1, 3, 4, 2] : [0, 2, 3, 1]);
  t.dispose();
  return nhwc;
}

// float32 on both sides. One step agrees to about 1e-6; guidance and some steps carry it to below 1e-4, which is what
// the project promises.
const tolerance = 1e-4;

const models: Record<string, LatentModel> = {};

beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  const file = readSafetensors(fixture('stable-diffusion.safetensors'));
  for (const name of file.tensors.keys()) (golden as Record<string, unknown>)[name] = file.read(name);
  file.close();
  for (const name of ['tiny-sd', 'tiny-sdxl', 'tiny-sdxl-refiner'])
    models[name] = await openLoaded({ path: fixture(name) });
});
afterAll(() => {
  for (const model of Object.values(models)) model.dispose();
});

/** The picture that image to image and inpainting start from, in [-1, 1]. */
function picture(): tf.Tensor4D {
  return tf.tidy(() => tf.sub(tf.mul(expected('picture'), 2), 1) as tf.Tensor4D);
}

/**
 * Runs a golden's call with our parts and compares each step that theirs has, and the picture. With `ends` only the last step:
 * outside a mask theirs replaces what the solver has after each step, ours what the network sees.
 */
async function check(
  name: string,
  folder: string,
  more: Partial<LatentPlan> = {},
  { ends = false }: { readonly ends?: boolean } = {},
): Promise<void> {
  const call = cases[name]!;
  const model = { ...models[folder]!, sampler: samplerFromDiffusers(call.scheduler) };
  const images = golden[`${name}.images`]!.shape;
  const size = { height: images[1]!, width: images[2]! };
  const prompts = typeof call.prompt === 'string' ? [call.prompt] : [...call.prompt];
  const before = tf.memory().numTensors;
  const pair = model.encode({ prompts, negative: call.negative_prompt ?? null }, size);
  const reached: Float32Array[] = [];
  const latents = await sampleLatents(
    model,
    pair,
    {
      steps: call.num_inference_steps,
      guidance: call.guidance_scale,
      ...(call.guidance_rescale && { guidanceRescale: call.guidance_rescale }),
      size,
      ...more,
    },
    torchNoise(call.seed),
    { onStep: ({ x }) => reached.push(x.dataSync<'float32'>().slice()) },
  );
  reached[reached.length - 1] = latents.dataSync<'float32'>().slice();
  const pictures = await decodeLatents(model.vae, latents);
  tf.dispose([latents, { ...pair.wanted }, { ...pair.unwanted }] as tf.TensorContainer);
  expect(tf.memory().numTensors).toBe(before);
  const steps = tf.tidy(() => tf.unstack(expected(`${name}.latents`)).map((t) => t.dataSync()));
  expect(reached.length).toBe(steps.length);
  reached.forEach((x, i) => {
    if (!ends || i === steps.length - 1) expect(relativeError(x, steps[i]!), `step ${i}`).toBeLessThan(tolerance);
  });
  const shown = pictures.map((value) => Math.min(Math.max(value / 2 + 0.5, 0), 1));
  expect(relativeError(shown, golden[`${name}.images`]!.data), 'picture').toBeLessThan(tolerance);
}

describe('pictures of diffusers’ pipelines, step by step', () => {
  test('text to image, PNDM as in the folder, a rectangle', () => check('sd-pndm', 'tiny-sd'));
  test('a batch with one generator, the empty negative prompt', () => check('sd-ddim-batch', 'tiny-sd'));
  test('without guidance', () => check('sd-no-guidance', 'tiny-sd'));
  test('DPM-Solver++ on Karras levels', () => check('sd-dpmpp-karras', 'tiny-sd'));
  test('UniPC', () => check('sd-unipc', 'tiny-sd'));
  test('Euler ancestral: noise of the same generator at each step', () => check('sd-euler-ancestral', 'tiny-sd'));
  test('v-prediction from pure noise, guidance rescaled', () => check('sd-zero-snr-rescale', 'tiny-sd'));
  test('SDXL: two encoders, sizes, zeros for no negative prompt', () => check('xl', 'tiny-sdxl'));
  test('SDXL with a negative prompt', () => check('xl-negative', 'tiny-sdxl'));

  test('image to image', async () => {
    const image = picture();
    await check('sd-img2img', 'tiny-sd', { start: { image, strength: 0.6 } });
    image.dispose();
  });

  test('image to image at full strength: the picture is noised, not left out', async () => {
    const image = picture();
    await check('sd-img2img-full', 'tiny-sd', { start: { image, strength: 1 } });
    image.dispose();
  });

  test('inpainting with a UNet that does not see the mask', async () => {
    const [image, mask] = [picture(), expected('mask') as tf.Tensor4D];
    await check('sd-inpaint', 'tiny-sd', { start: { image, mask, strength: 0.8 } }, { ends: true });
    tf.dispose([image, mask]);
  });

  test.each([
    ['sd-inpaint-ancestral', 'fresh noise stays inside the mask', 0.8],
    ['sd-inpaint-full', 'the first level is noise alone', 1],
    ['sd-inpaint-pndm', 'its second time is evaluated twice', 1],
    ['sd-inpaint-lcm', 'a consistency model', 0.8],
  ])('inpainting with a UNet that does not see the mask: %s, %s', async (name, _why, strength) => {
    const [image, mask] = [picture(), expected('mask') as tf.Tensor4D];
    await check(name, 'tiny-sd', { start: { image, mask, strength } }, { ends: true });
    tf.dispose([image, mask]);
  });

  test.each(['sd-img2img-pndm', 'sd-img2img-lms'])('image to image, a solver with a memory: %s', async (name) => {
    const image = picture();
    await check(name, 'tiny-sd', { start: { image, strength: 0.6 } });
    image.dispose();
  });

  test('LCM', () => check('sd-lcm', 'tiny-sd'));

  test.each([
    ['sd-inpaint-seeing', 1],
    ['sd-inpaint-seeing-part', 0.8],
  ])('inpainting with a UNet that sees mask and picture: %s', async (name, strength) => {
    const folder = fixture('tiny-sd-inpainting/unet');
    const unet = new UNet2DCondition(
      unet2dConditionFromDiffusers(JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'))),
    );
    const file = await readWeights(folder);
    await unet.load(file);
    file.close();
    models['tiny-sd-inpainting'] = { ...models['tiny-sd']!, unet };
    const [image, mask] = [picture(), expected('mask') as tf.Tensor4D];
    await check(name, 'tiny-sd-inpainting', { start: { image, mask, strength } });
    tf.dispose([image, mask]);
    unet.dispose();
    delete models['tiny-sd-inpainting'];
  });

  test('the base of SDXL hands over to the refiner', async () => {
    const base = models['tiny-sdxl']!;
    const { prompt, num_inference_steps: steps, guidance_scale: guidance, seed } = cases['xl-refiner']!;
    const size = { height: 16, width: 24 };
    const pair = base.encode({ prompts: [prompt as string], negative: null }, size);
    const left = await sampleLatents(base, pair, { steps, guidance, size, leave: 0.4 }, torchNoise(seed));
    const handed = expected('xl-refiner.handed') as tf.Tensor4D;
    expect(relativeError(left.dataSync(), handed.dataSync())).toBeLessThan(tolerance);
    await check('xl-refiner', 'tiny-sdxl-refiner', { from: { latents: left, share: 0.4 } });
    tf.dispose([left, handed, { ...pair.wanted }, { ...pair.unwanted }] as tf.TensorContainer);
  });
});

test('what the goldens hold depends on prompt and negative prompt', async () => {
  const model = models['tiny-sd']!;
  const size = { height: 16, width: 16 };
  const of = async (prompt: string, negative: string | null) => {
    const pair = model.encode({ prompts: [prompt], negative }, size);
    const latents = await sampleLatents(model, pair, { steps: 2, guidance: 3, size }, torchNoise(1));
    const values = latents.dataSync<'float32'>().slice();
    tf.dispose([latents, { ...pair.wanted }, { ...pair.unwanted }] as tf.TensorContainer);
    return values;
  };
  const plain = await of('a cat', null);
  expect(relativeError(await of('a cat', ''), plain)).toBe(0);
  expect(relativeError(await of('a dog', null), plain)).toBeGreaterThan(20 * tolerance);
  expect(relativeError(await of('a cat', 'blue'), plain)).toBeGreaterThan(20 * tolerance);
});
