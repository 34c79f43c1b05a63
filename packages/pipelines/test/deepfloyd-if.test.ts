import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import type { HostTensor } from '@mezzotint/core';
import { toBytes } from '@mezzotint/data/pixels';
import { relativeError } from '@mezzotint/testing';
import { readSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type OpenOptions, openPipeline, type Pipeline, type Request } from '../src/node/index.js';
import { sampleFixture } from './support/goldens.js';
import { variant, withScheduler } from './support/variants.js';

// Calls of diffusers' IFPipeline and IFSuperResolutionPipeline by tooling/golden/scripts/deepfloyd_if.py: x after each step.

interface Case {
  readonly prompt: string;
  readonly negative_prompt?: string;
  readonly num_inference_steps: number;
  readonly guidance_scale: number;
  readonly noise_level?: number;
}

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const { cases } = JSON.parse(readFileSync(fixture('deepfloyd-if.json'), 'utf8')) as { cases: Record<string, Case> };
const golden: Record<string, HostTensor> = {};
const open: Pipeline[] = [];
const opened = async (path: string, options?: OpenOptions) => {
  const pipeline = await openPipeline(path.startsWith('/') ? path : fixture(path), options);
  open.push(pipeline);
  return pipeline;
};

beforeAll(async () => {
  await useBackend();
  const file = readSafetensors(fixture('deepfloyd-if.safetensors'));
  for (const name of file.tensors.keys()) golden[name] = file.read(name);
  file.close();
});
afterAll(() => {
  for (const pipeline of open) pipeline.dispose();
});

// float32 on both sides; measured below 2e-6 a step, and guidance carries that on. 1e-4 is what the project promises.
const tolerance = 1e-4;

/** Runs a request and compares x after each step with `[steps, N, H, W, C]` of a golden, or of several stages one after the other. */
async function compare(pipeline: Pipeline, names: readonly string[], request: Request): Promise<void> {
  const reached: Float32Array[] = [];
  for await (const { x } of pipeline.steps(request)) reached.push(x.dataSync<'float32'>().slice());
  const expected = names.flatMap((name) => {
    const { data, shape } = golden[`${name}.x`]!;
    const size = data.length / shape[0]!;
    return Array.from({ length: shape[0]! }, (_, i) => Float32Array.from(data.slice(i * size, (i + 1) * size)));
  });
  expect(reached.length).toBe(expected.length);
  reached.forEach((x, i) => {
    expect(relativeError(x, expected[i]!), `${names.join(', ')}, step ${i}`).toBeLessThan(tolerance);
  });
}

function requestOf(name: string): Request {
  const { prompt, negative_prompt: negative, num_inference_steps: steps, guidance_scale: guidance } = cases[name]!;
  return { prompt, ...(negative !== undefined && { negative }), steps, guidance };
}

/** The small picture as a PNG would hold it. */
function picture() {
  const { data, shape } = golden.picture!;
  return { data: toBytes(Float32Array.from(data)), height: shape[1]!, width: shape[2]!, channels: 3 as const };
}

describe('stage I, as IFPipeline has it', () => {
  test('learned variance, dynamic thresholding, guidance with a negative prompt', async () => {
    const pipeline = await opened('tiny-if-1');
    const before = tf.memory().numTensors;
    await compare(pipeline, ['stage-1'], { ...requestOf('stage-1'), seed: 1 });
    const loaded = tf.memory().numTensors;
    await compare(pipeline, ['stage-1-plain'], { ...requestOf('stage-1-plain'), seed: 2, height: 12, width: 8 });
    expect(tf.memory().numTensors).toBe(loaded);
    expect(loaded).toBeGreaterThan(before);
  });

  test('prompts are cleaned, or put into small letters alone', async () => {
    const pipeline = await opened('tiny-if-1');
    expect(pipeline.defaults.promptCleaning).toBe('full');
    const made = async (request: Request) => {
      const { images } = await pipeline.generate({ steps: 1, guidance: 1, seed: 1, ...request });
      return [...images[0]!.data];
    };
    const plain = await made({ prompt: 'a red cat', promptCleaning: 'lowercase' });
    const shop = 'A red CAT <b>www.cats.com/red</b> page 12';
    expect(await made({ prompt: shop })).toEqual(plain);
    expect(await made({ prompt: shop, promptCleaning: 'lowercase' })).not.toEqual(plain);
    await expect(made({ prompt: 'the â€œbestâ€ cat' })).rejects.toThrow(/not repaired here/);
  });

  test('its defaults are those of the pipeline; what it does not take is named', async () => {
    const pipeline = await opened('tiny-if-1');
    expect(pipeline.defaults).toMatchObject({ height: 8, width: 8, steps: 100, guidance: 7 });
    await expect(pipeline.check({ prompt: 'a cat', noiseLevel: 3 })).rejects.toThrow(
      /noiseLevel: DeepFloyd IF does not take it/,
    );
    await expect(pipeline.check({ prompt: 'a cat', height: 9 })).rejects.toThrow(
      /height: expected a multiple of 2, got 9/,
    );
  });
});

test('a scheduler without variance leaves the learned one out', async () => {
  const scheduler = { _class_name: 'DPMSolverMultistepScheduler', beta_schedule: 'squaredcos_cap_v2' };
  const pipeline = await opened(withScheduler(fixture('tiny-if-1'), scheduler));
  await compare(pipeline, ['stage-1-dpm'], { ...requestOf('stage-1-dpm'), seed: 3 });
});

describe('stage II, as IFSuperResolutionPipeline has it', () => {
  test('noise level told, noise of the start drawn before that of the picture', async () => {
    const pipeline = await opened('tiny-if-2');
    const image = picture();
    await compare(pipeline, ['stage-2'], { ...requestOf('stage-2'), image, noiseLevel: 250, seed: 4 });
    await compare(pipeline, ['stage-2-plain'], { ...requestOf('stage-2-plain'), image, noiseLevel: 0, seed: 5 });
  });

  test('a picture of another size becomes four times as large', async () => {
    const pipeline = await opened('tiny-if-2');
    const image = { data: new Uint8Array(6 * 10 * 3).fill(99), height: 6, width: 10, channels: 3 as const };
    const { images } = await pipeline.generate({ prompt: '', image, steps: 2 });
    expect([images[0]!.height, images[0]!.width]).toEqual([24, 40]);
  });
});

test('both stages, with one generator', async () => {
  const pipeline = await opened('tiny-if-1', { upsampler: fixture('tiny-if-2') });
  const { prompt } = requestOf('cascade-1');
  const request: Request = { prompt: prompt!, steps: 5, stageGuidance: [7, 4], stageNoiseLevels: [0, 100], seed: 6 };
  await compare(pipeline, ['cascade-1', 'cascade-2'], request);
  // What each stage's makers say holds where nothing was asked.
  expect(await pipeline.settings({ prompt: 'a cat' })).toMatchObject({ stageSteps: [100, 50], stageGuidance: [7, 4] });
  await expect(pipeline.check({ prompt: 'a', stageSteps: [3] })).rejects.toThrow(
    /stageSteps: expected one for each of the 2 stages/,
  );
});

test('what is cut off of a long prompt, which both stages read, is quoted once', async () => {
  const pipeline = await opened('tiny-if-1', { upsampler: fixture('tiny-if-2') });
  const notes: string[] = [];
  const asked = { prompt: `${'a red cat '.repeat(40)}on the dog`, steps: 2, stageSteps: [2, 2], guidance: 1 };
  await pipeline.generate(asked, { onNote: (line) => notes.push(line) });
  expect(notes).toEqual([expect.stringMatching(/longer than 76 tokens; cut off: '(a red cat )+/)]);
});

test('a run that was saved in the second stage goes on to the same picture', async () => {
  const pipeline = await opened('tiny-if-1', { upsampler: fixture('tiny-if-2') });
  const request: Request = { prompt: 'a cat', stageSteps: [2, 3], seed: 3 };
  const { images } = await pipeline.generate(request);
  let saved: Awaited<ReturnType<Parameters<typeof JSON.stringify>[0]>>;
  let taken = 0;
  for await (const step of pipeline.steps(request)) {
    taken += 1;
    if (taken === 4) {
      saved = await step.save();
      break;
    }
  }
  const again = await pipeline.generate(request, { from: saved });
  expect(again.images[0]!.data).toEqual(images[0]!.data);
});

test("Stable Diffusion's x4 upscaler as the third stage", async () => {
  const texts = { text_encoder: fixture('tiny-sd2/text_encoder'), tokenizer: sampleFixture('tiny-sd/tokenizer') };
  const pipeline = await opened('tiny-if-1', {
    upsampler: [fixture('tiny-if-2'), variant(fixture('tiny-upscaler'), texts)],
  });
  expect(pipeline.description).toMatch(/stage I, stage II, StableDiffusionUpscalePipeline as stage III/);
  const { images } = await pipeline.generate({
    prompt: 'a cat',
    stageSteps: [1, 1, 1],
    stageNoiseLevels: [0, 250, 10],
  });
  expect([images[0]!.height, images[0]!.width]).toEqual([4 * 32, 4 * 32]);
  await expect(pipeline.check({ prompt: 'a cat', stageNoiseLevels: [0, 1000, 351] })).rejects.toThrow(
    /at most 999, got 1000 for stage-2[\s\S]*at most 350, got 351 for stage-3/,
  );
});
