import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type HostTensor, renamed } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data/pixels';
import { torchNoise } from '@mezzotint/schedulers';
import { relativeError } from '@mezzotint/testing';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, expect } from 'vitest';
import { type OpenOptions, openPipeline, type Pipeline, type Request } from '../../src/node/index.js';
import { fixture, runSteps } from './goldens.js';

/** What a golden's call of a pipeline of Stable Diffusion 3 or FLUX was. */
export interface Case {
  readonly seed: number;
  readonly prompt: string | readonly string[];
  readonly prompt_2?: string;
  readonly prompt_3?: string;
  readonly negative_prompt?: string;
  readonly negative_prompt_2?: string;
  readonly negative_prompt_3?: string;
  readonly num_inference_steps: number;
  readonly guidance_scale: number;
  readonly true_cfg_scale?: number;
  readonly max_sequence_length?: number;
  readonly strength?: number;
}

const golden: Record<string, HostTensor> = {};
const cases: Record<string, Case> = {};
for (const name of ['sd3-flux', 'sd3-flux-more', 'sd3-flux-lora']) {
  Object.assign(cases, (JSON.parse(readFileSync(fixture(`${name}.json`), 'utf8')) as { cases: object }).cases);
  const file = readSafetensors(fixture(`${name}.safetensors`));
  for (const key of file.tensors.keys()) golden[key] = file.read(key);
  file.close();
}

/** A folder of this test file's own, removed with its pipelines when the tests are over. */
export const scratch = mkdtempSync(join(tmpdir(), 'sd3-flux-'));
const open: Pipeline[] = [];
afterAll(() => {
  for (const pipeline of open) pipeline.dispose();
  rmSync(scratch, { recursive: true });
});

/** Opens a pipeline that is disposed when the tests are over. */
export async function opened(path: string, options?: OpenOptions): Promise<Pipeline> {
  const pipeline = await openPipeline(path, options);
  open.push(pipeline);
  return pipeline;
}

// float32 on both sides, the promise is 1e-3 of the latents; measured below 2e-5.
const tolerance = 1e-4;

/** A golden picture `[1, C, H, W]` in [0, 1] as a PNG would hold it. */
export function bitmap(name: string): Bitmap {
  const { data, shape } = golden[name]!;
  const [, channels, height, width] = shape as [number, 1 | 3, number, number];
  const nhwc = tf.tidy(() => tf.transpose(tf.tensor(data, [...shape]), [0, 2, 3, 1]).dataSync());
  return { data: Uint8Array.from(nhwc, (v) => Math.round(255 * v)), height, width, channels };
}

/** Runs a golden's call and compares the latents of each step that theirs has, and the pictures to one grey level. */
export async function check(name: string, pipeline: Pipeline, more: Request = {}): Promise<void> {
  const call = cases[name]!;
  const [count, height, width] = golden[`${name}.images`]!.shape as [number, number, number, number];
  const isFlux = pipeline.family === 'FLUX.1';
  const request: Request = {
    prompt: call.prompt as string,
    ...(call.prompt_2 !== undefined && { secondPrompt: call.prompt_2 }),
    ...(call.prompt_3 !== undefined && { thirdPrompt: call.prompt_3 }),
    ...(call.negative_prompt !== undefined && { negative: call.negative_prompt }),
    ...(call.negative_prompt_2 !== undefined && { secondNegative: call.negative_prompt_2 }),
    ...(call.negative_prompt_3 !== undefined && { thirdNegative: call.negative_prompt_3 }),
    ...(call.strength !== undefined && { image: bitmap('picture'), strength: call.strength }),
    ...(call.true_cfg_scale !== undefined && { trueGuidance: call.true_cfg_scale }),
    // Without it, what the pipeline of diffusers takes: 256 for Stable Diffusion 3, 512 for FLUX.
    ...{ textLength: call.max_sequence_length ?? (isFlux ? 512 : 256) },
    ...(pipeline.takes.includes('guidance') && { guidance: call.guidance_scale }),
    ...{ height, width, seed: call.seed, steps: call.num_inference_steps, batch: count },
    ...more,
  };
  // One generator draws for all pictures of a batch there; here each picture has its own.
  const hooks = count === 1 ? {} : { noise: () => torchNoise(call.seed) };
  const { reached, images } = await runSteps(pipeline, request, hooks);
  const { data, shape } = golden[`${name}.latents`]!;
  const expected = tf.tidy(() =>
    tf.unstack(tf.transpose(tf.tensor(data, [...shape]), [0, 1, 3, 4, 2])).map((t) => t.dataSync<'float32'>().slice()),
  );
  const compared = reached.slice(-expected.length);
  expect(compared.length).toBe(expected.length);
  // With a mask, what the solver has outside of it is of no effect, and not theirs.
  const inside = more.mask === undefined ? null : latentMask(height, width);
  compared.forEach((x, i) => {
    expect(relativeError(within(x, inside), within(expected[i]!, inside)), `${name}, step ${i}`).toBeLessThan(
      tolerance,
    );
  });
  // Their inpainting pipeline of SD3 forgets the shift of the autoencoder when it decodes; we do not.
  if (name.startsWith('sd3-inpaint')) return;
  const shown = golden[`${name}.images`]!.data;
  const size = shown.length / count;
  images.forEach(({ data: bytes }, n) => {
    bytes.forEach((value, i) => {
      expect(Math.abs(value / 255 - shown[n * size + i]!)).toBeLessThan(1 / 255 + 1e-3);
    });
  });
}

/** 1 where a latent pixel is made anew: the first of its pixels. */
function latentMask(height: number, width: number): Float32Array {
  const { data } = golden.mask!;
  return Float32Array.from({ length: (height * width) / 4 }, (_, p) => {
    const [row, column] = [Math.floor(p / (width / 2)), p % (width / 2)];
    return data[2 * row * width + 2 * column]!;
  });
}

function within(x: Float32Array, inside: Float32Array | null): Float32Array {
  if (inside === null) return x;
  const channels = x.length / inside.length;
  return x.map((value, i) => value * inside[Math.floor(i / channels)]!);
}

/** schnell's folder, made of dev's: the same weights without the embedding of guidance. */
export async function schnellFolder(): Promise<string> {
  const folder = join(scratch, 'schnell');
  cpSync(fixture('tiny-flux-dev'), folder, { recursive: true });
  const path = join(folder, 'transformer', 'diffusion_pytorch_model.safetensors');
  const file = readSafetensors(fixture('tiny-flux-dev/transformer/diffusion_pytorch_model.safetensors'));
  const without = renamed(file, (name) => (name.includes('guidance_embedder') ? undefined : name));
  await writeSafetensors(path, without, { dtype: 'F16', overwrite: true });
  file.close();
  const edit = (name: string, change: object) => {
    const json = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    writeFileSync(join(folder, name), JSON.stringify({ ...json, ...change }));
  };
  edit('transformer/config.json', { guidance_embeds: false });
  edit('scheduler/scheduler_config.json', { shift: 1, use_dynamic_shifting: false });
  return folder;
}
