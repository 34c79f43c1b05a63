import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import { type StateDict, TorchGenerator } from '@mezzotint/core';
import { dit } from '@mezzotint/dit';
import { relativeError } from '@mezzotint/testing';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { openPipeline, type Request } from '../src/node/index.js';

interface Case {
  readonly seed: number;
  readonly count?: number;
  readonly labels?: number[];
  readonly steps: number;
  readonly guidance?: number;
}

const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const { cases } = JSON.parse(readFileSync(fixture('class-pipelines.json'), 'utf8')) as { cases: Record<string, Case> };
const golden: StateDict = {};

beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  const file = readSafetensors(fixture('class-pipelines.safetensors'));
  for (const name of file.tensors.keys()) (golden as Record<string, unknown>)[name] = file.read(name);
  file.close();
});

// float32 on both sides: one step agrees to about 1e-6, which a few steps and guidance carry to below 1e-4.
const tolerance = 1e-4;

/** Makes the pictures of a golden; compares what its file has: the last latents (or pixels), and the pictures to one grey level. */
async function check(name: string, folder: string, more: Request = {}): Promise<void> {
  const pipeline = await openPipeline(fixture(folder));
  const before = tf.memory().numTensors;
  let last: Float32Array | undefined;
  let bytes: number[] = [];
  for await (const step of pipeline.steps({ ...cases[name]!, batch: 2, ...more })) {
    last = step.x.dataSync<'float32'>().slice();
    if (step.images) bytes = step.images.flatMap(({ data }) => [...data]);
  }
  const images = golden[`${name}.images`]!.data; // in [0, 1]
  const latents = golden[`${name}.latents`]?.data;
  if (latents) expect(relativeError(last!, latents as Float32Array)).toBeLessThan(tolerance);
  else {
    const clamped = last!.map((value) => Math.min(Math.max(value / 2 + 0.5, 0), 1));
    expect(relativeError(clamped, images as Float32Array)).toBeLessThan(tolerance);
  }
  expect(bytes).toHaveLength(images.length);
  bytes.forEach((byte, i) => {
    expect(Math.abs(byte - images[i]! * 255)).toBeLessThanOrEqual(1);
  });
  pipeline.dispose();
  expect(tf.memory().numTensors).toBe(before);
}

describe('the pictures of diffusers', () => {
  test('DDPMPipeline, without classes', () => check('ddpm', 'tiny-ddpm'));
  test('DDIMPipeline', () => check('ddim', 'tiny-ddim'));
  test('DDPMPipeline with classes', () => check('ddpm-classes', 'tiny-ddpm-classes'));
  test('DiTPipeline, guided', () => check('dit', 'tiny-dit'));
  test('DiTPipeline without guidance, by the names of its classes', () =>
    check('dit-plain', 'tiny-dit', { labels: 'golden retriever,goldfish' } as never));
});

test('an original DiT in one file, with the autoencoder of a folder, as its makers sample', async () => {
  const root = mkdtempSync(join(tmpdir(), 'mezzotint-dit-'));
  const config = { ...dit.presets[0]!.config, imageSize: 8, patchSize: 4, width: 64, depth: 1, heads: 1, classes: 3 };
  const state = Object.fromEntries(
    [...dit.build(config).params()].map(([name, { fileShape, size }]) => {
      const data = new TorchGenerator(name.length).randn(size).map((n) => 0.1 * n);
      return [name, { shape: fileShape, data }];
    }),
  );
  const file = join(root, 'DiT.safetensors');
  await writeSafetensors(file, state);
  await expect(openPipeline(file)).rejects.toThrow(/parts: .*there is no autoencoder: name a folder that has one/);
  const pipeline = await openPipeline(file, { parts: fixture('tiny-dit') });
  expect(pipeline.defaults).toMatchObject({ height: 16, width: 16, steps: 250, guidance: 4 });
  expect(pipeline.classes).toEqual(['0', '1', '2']);
  const { images } = await pipeline.generate({ labels: [2], steps: 2, seed: 1 });
  expect(images[0]).toMatchObject({ height: 16, width: 16, channels: 3 });
  const [other] = (await pipeline.generate({ labels: [2], steps: 2, seed: 1, guidance: 1 })).images;
  expect([...other!.data]).not.toEqual([...images[0]!.data]);
  pipeline.dispose();
  rmSync(root, { recursive: true });
});

describe('requests', () => {
  test('are refused with everything that such a model does not take', async () => {
    const plain = await openPipeline(fixture('tiny-ddpm'));
    expect(plain.classes).toEqual([]);
    expect(plain.defaults).toMatchObject({ height: 8, width: 8, steps: 1000 });
    await expect(plain.check({ labels: '0', prompt: 'a cat', guidance: 2 })).rejects.toThrow(
      /prompt: DDPM does not take it[\s\S]*guidance: DDPM does not take it|labels: DDPM does not take it/,
    );
    const classes = await openPipeline(fixture('tiny-ddpm-classes'));
    await expect(classes.check({ labels: '3' })).rejects.toThrow(/"3" is no label of this model, which knows 0, 1, 2/);
    await expect(classes.check({ guidance: 2 })).rejects.toThrow(/guidance: DDPM does not take it/); // It has no null label.
    const dit = await openPipeline(fixture('tiny-dit'));
    expect(dit.classes.slice(0, 3)).toEqual(['tench', 'goldfish', '2']);
    expect(dit.defaults).toMatchObject({ height: 16, width: 16, steps: 50, guidance: 4 });
    for (const pipeline of [plain, classes, dit]) pipeline.dispose();
  });
});
