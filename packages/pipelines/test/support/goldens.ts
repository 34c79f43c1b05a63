import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { HostTensor } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data/pixels';
import { relativeError } from '@mezzotint/testing';
import { readSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import type { Pipeline, Request, RunHooks } from '../../src/index.js';

/** What a golden's call of a pipeline was. */
export interface Case {
  readonly seed: number;
  readonly prompt: string;
  readonly negative_prompt?: string;
  readonly num_inference_steps: number;
  readonly guidance_scale: number;
  readonly guidance_rescale?: number;
  readonly strength?: number;
  readonly scheduler: Readonly<Record<string, unknown>>;
}

/** Calls of diffusers' pipelines and what came of them: latents after each step, and pictures. */
export interface Goldens {
  readonly cases: Readonly<Record<string, Case>>;
  read(name: string): HostTensor;
}

/** A file or folder of this package's fixtures. */
export const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
/** One of the folders that the sample app is tried with. */
export const sampleFixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../apps/sample/test/fixtures/${name}`, import.meta.url));

export function openGoldens(path: string): Goldens {
  const { cases } = JSON.parse(readFileSync(`${path}.json`, 'utf8')) as Pick<Goldens, 'cases'>;
  const file = readSafetensors(`${path}.safetensors`);
  const tensors = new Map([...file.tensors.keys()].map((name) => [name, file.read(name)]));
  file.close();
  return { cases, read: (name) => tensors.get(name)! };
}

/** A golden picture `[1, C, H, W]` in [0, 1] as bytes, its upper left part. */
export function bitmapOf({ shape, data }: HostTensor, height = shape[2]!, width = shape[3]!): Bitmap {
  const [, channels, rows, columns] = shape as [number, number, number, number];
  const bytes = Uint8Array.from({ length: height * width * channels }, (_, i) => {
    const [c, x, y] = [i % channels, Math.floor(i / channels) % width, Math.floor(i / channels / width)];
    return Math.round(255 * data[(c * rows + y) * columns + x]!);
  });
  return { data: bytes, height, width, channels: channels as 1 | 3 };
}

/** Latents `[steps, N, C, h, w]` as NHWC, one array a step. */
export function latentsOf({ data, shape }: HostTensor): Float32Array[] {
  return tf.tidy(() => {
    const nhwc = tf.transpose(tf.tensor(data, [...shape]), [0, 1, 3, 4, 2]);
    return tf.unstack(nhwc).map((t) => t.dataSync<'float32'>().slice());
  });
}

// float32 on both sides. One step agrees to about 1e-6; guidance and some steps carry it to below 1e-4, which is what
// the project promises.
export const tolerance = 1e-4;

/** How a golden is compared. */
export interface CompareOptions {
  /** Compare the last steps only: a stage before has its own, or (`1`) theirs replaces what is outside a mask after each step. */
  readonly last?: number;
}

/** Runs a golden's call and compares the latents of each step, and the picture to one grey level. */
export async function compare(
  { cases, read }: Goldens,
  name: string,
  pipeline: Pipeline,
  more: Request = {},
  { last }: CompareOptions = {},
): Promise<void> {
  const call = cases[name]!;
  const shown = read(`${name}.images`);
  const request: Request = {
    prompt: call.prompt,
    ...(call.negative_prompt !== undefined && { negative: call.negative_prompt }),
    ...(call.guidance_rescale !== undefined && { guidanceRescale: call.guidance_rescale }),
    ...(call.strength !== undefined && { strength: call.strength }),
    ...(more.image === undefined && { height: shown.shape[1]!, width: shown.shape[2]! }),
    ...{ seed: call.seed, steps: call.num_inference_steps, guidance: call.guidance_scale },
    ...more,
  };
  const { reached, images } = await runSteps(pipeline, request);
  const expected = latentsOf(read(`${name}.latents`));
  const count = last ?? expected.length;
  if (last === undefined) expect(reached.length).toBe(expected.length);
  expected.slice(-count).forEach((x, i) => {
    expect(relativeError(reached.at(i - count)!, x), `step ${i}`).toBeLessThan(tolerance);
  });
  expect([images[0]!.height, images[0]!.width]).toEqual(shown.shape.slice(1, 3));
  images[0]!.data.forEach((value, i) => {
    expect(Math.abs(value / 255 - shown.data[i]!)).toBeLessThan(1 / 255 + 1e-3);
  });
}

/** Runs a request step by step: the latents after each, and the pictures of the last. */
export async function runSteps(pipeline: Pipeline, request: Request, hooks: RunHooks = {}) {
  const reached: Float32Array[] = [];
  let images: readonly Bitmap[] = [];
  for await (const step of pipeline.steps(request, hooks)) {
    reached.push(step.x.dataSync<'float32'>().slice());
    images = step.images ?? images;
  }
  return { reached, images };
}
