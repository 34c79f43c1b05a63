import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { architectureOfKind } from '@mezzotint/architectures';
import { useBackend } from '@mezzotint/backend';
import { type HostTensor, TorchGenerator } from '@mezzotint/core';
import { augmentationLevel, perImageNoise } from '@mezzotint/schedulers';
import { relativeError } from '@mezzotint/testing';
import { writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lowResolutionInputs } from '../src/low-resolution.js';
import { openPipeline } from '../src/node/index.js';
import type { Batch, EncodeContext } from '../src/stage.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-cascade-'));
const tinyIf = fileURLToPath(new URL('fixtures/tiny-if-1', import.meta.url));

beforeAll(async () => void (await useBackend({ engine: 'cpu' })));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A folder in the form of `train` with a tiny network of Imagen's and T5. */
async function writeStage(folder: string, imageSize: number, factor?: number, change: object = {}): Promise<string> {
  const architecture = architectureOfKind('denoiser', 'EfficientUNet');
  const settings = architecture.references![0]!.config({
    ...{ dim: 8, text_embed_dim: 32, cond_dim: 8, dim_mults: [1, 2], max_text_len: 6, attn_heads: 2, attn_dim_head: 4 },
    ...{ layer_attns: false, layer_cross_attns: [false, true], attn_pool_num_latents: 2 },
    init_cross_embed_kernel_sizes: [3],
    ...(factor !== undefined && { lowres_cond: true, memory_efficient: true, attend_at_middle: false }),
  });
  const network = { ...(settings as object), imageSize } as typeof settings;
  mkdirSync(join(folder, 'text_encoder'), { recursive: true });
  cpSync(join(tinyIf, 'text_encoder'), join(folder, 'text_encoder'), { recursive: true });
  cpSync(join(tinyIf, 'tokenizer'), join(folder, 'text_encoder'), { recursive: true });
  const config = {
    format: 'mezzotint/diffusion@1',
    architecture: 'EfficientUNet',
    network,
    image: { size: imageSize, channels: 3 },
    text: { encoders: [{ folder: 'text_encoder', length: 6, skip: 0 }] },
    classes: [],
    process: { kind: 'log-snr', curve: { kind: 'cosine' }, prediction: 'v', time: 'log-snr', timeScale: 1 },
    sampling: { solver: 'ddim', steps: 4, guidance: 2, threshold: 0.95 },
    ...(factor !== undefined && { superResolution: { factor } }),
    ...change,
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const rng = new TorchGenerator(imageSize);
  const state: Record<string, HostTensor> = {};
  for (const [key, param] of architecture.build(network).params()) {
    state[key] = { shape: param.fileShape, data: rng.randn(param.size).map((n) => 0.1 * n) };
  }
  await writeSafetensors(join(folder, 'model.safetensors'), state);
  return folder;
}

describe('Imagen: T5 and three stages', () => {
  const imagen = join(root, 'imagen');
  beforeAll(async () => {
    await writeStage(join(imagen, 'base'), 8);
    await writeStage(join(imagen, 'sr-16'), 16, 2, {
      sampling: { solver: 'dpmpp-2m', steps: 3, guidance: 1.5, threshold: 0.99 },
    });
    await writeStage(join(imagen, 'sr-32'), 32, 2, { sampling: { solver: 'ddim', steps: 2, guidance: 1 } });
    const config = { format: 'mezzotint/cascade@1', stages: ['base', 'sr-16', 'sr-32'] };
    writeFileSync(join(imagen, 'config.json'), JSON.stringify(config));
  });

  test('each stage has its own sampler, steps and guidance, which a request may give anew', async () => {
    const pipeline = await openPipeline(imagen);
    expect(pipeline.family).toBe('Imagen and other cascades');
    expect(await pipeline.settings({ prompt: 'a cat' })).toMatchObject({
      stageSteps: [4, 3, 2],
      stageGuidance: [2, 1.5, 1],
    });
    await expect(
      pipeline.settings({ prompt: 'a cat', stageGuidance: [3, 2, 1], guide: [{ name: 'fdg' }] }),
    ).rejects.toThrow(/fdg has a strength of its own; leave stageGuidance out/);
    const counts = new Map<string, number>();
    let size: number[] = [];
    for await (const step of pipeline.steps({ prompt: 'a red cat', seed: 1, stageSteps: [2, 3, 1] })) {
      counts.set(step.stage, step.count);
      if (step.images) size = [step.images[0]!.height, step.images[0]!.width];
    }
    expect([...counts]).toEqual([
      ['model', 2],
      ['stage-2/model', 3],
      ['stage-3/model', 1],
    ]);
    expect(size).toEqual([32, 32]);
    await expect(pipeline.check({ prompt: 'a', stageGuidance: [1] })).rejects.toThrow(/one for each of the 3 stages/);
    pipeline.dispose();
  });

  test('with a start picture the first stage leaves steps out, and those behind it, which start from noise, none', async () => {
    const pipeline = await openPipeline(imagen);
    const image = { data: new Uint8Array(8 * 8 * 3).fill(80), height: 8, width: 8, channels: 3 as const };
    const counts = new Map<string, number>();
    const request = { prompt: 'a cat', image, strength: 0.5, stageSteps: [4, 3, 2], height: 8, width: 8 };
    for await (const { stage, count } of pipeline.steps(request)) counts.set(stage, count);
    expect([...counts.values()]).toEqual([2, 3, 2]);
    pipeline.dispose();
  });

  test('a guide needs a scale above 1 in some stage', async () => {
    const pipeline = await openPipeline(imagen);
    const request = { prompt: 'a cat', guidance: 1, guide: [{ name: 'apg' }] };
    await pipeline.check({ ...request, stageGuidance: [3, 3, 1] });
    await expect(pipeline.check({ ...request, stageGuidance: [1, 1, 1] })).rejects.toThrow(/above 1, it is 1, 1, 1/);
    pipeline.dispose();
  });

  test('the noise of a stage’s input changes its pictures, and not those before it', async () => {
    const pipeline = await openPipeline(imagen);
    const seen = async (stageNoiseLevels: number[]) => {
      const all: Float32Array[] = [];
      const request = { prompt: 'a cat', seed: 2, stageSteps: [1, 1, 1], stageNoiseLevels };
      for await (const { x } of pipeline.steps(request)) all.push(x.dataSync<'float32'>().slice());
      return all;
    };
    const [clean, noisy] = [await seen([0, 0, 0]), await seen([0, 400, 0])];
    expect(noisy[0]).toEqual(clean[0]);
    expect(relativeError(noisy[1]!, clean[1]!)).toBeGreaterThan(1e-3);
    pipeline.dispose();
  });

  test('the same models by the option upsampler; one that cannot follow is refused', async () => {
    const upsampler = [join(imagen, 'sr-16'), join(imagen, 'sr-32')];
    const pipeline = await openPipeline(join(imagen, 'base'), { upsampler });
    const { images } = await pipeline.generate({ prompt: 'a cat', stageSteps: [1, 1, 1] });
    expect(images[0]!.height).toBe(32);
    pipeline.dispose();
    await expect(openPipeline(join(imagen, 'base'), { upsampler: join(imagen, 'base') })).rejects.toThrow(
      /is no model that enlarges pictures/,
    );
    await expect(openPipeline(join(imagen, 'base'), { upsampler: join(root, 'none') })).rejects.toThrow(/none/);
  });

  test('a stage alone enlarges a picture', async () => {
    const pipeline = await openPipeline(join(imagen, 'sr-16'));
    const image = { data: new Uint8Array(10 * 6 * 3).fill(80), height: 10, width: 6, channels: 3 as const };
    const { images } = await pipeline.generate({ prompt: '', image, noiseLevel: 100 });
    expect([images[0]!.height, images[0]!.width]).toEqual([20, 12]);
    await expect(pipeline.check({ prompt: '' })).rejects.toThrow(/image: this model needs one/);
    pipeline.dispose();
  });

  test('with truncated conditioning the base stops where the next stage’s noise begins', async () => {
    const truncated = join(root, 'truncated');
    await writeStage(truncated, 16, 2, { superResolution: { factor: 2, augmentation: 'truncated' } });
    const pipeline = await openPipeline(join(imagen, 'base'), { upsampler: truncated });
    const steps = async (noiseLevel: number) => {
      let count = 0;
      const request = { prompt: 'a cat', stageSteps: [10, 1], stageNoiseLevels: [0, noiseLevel] };
      for await (const { stage } of pipeline.steps(request)) count += Number(stage === 'model');
      return count;
    };
    expect(await steps(0)).toBe(10);
    // Even steps of the cosine schedule: at level 500 of 1000, half of them are done.
    expect(await steps(500)).toBe(5);
    pipeline.dispose();
  });
});

test('the small picture is resized, then noised at a level that is told; a stage that stopped early leaves its own', () => {
  const small = tf.randomNormal([2, 3, 4, 3], 0, 1, 'float32', 5) as tf.Tensor4D;
  const batch = { images: [{}, {}], settings: { noiseLevel: 300 } } as unknown as Batch;
  const context = (previousLevel: EncodeContext['previousLevel']): EncodeContext => ({
    ...{ noise: perImageNoise([1, 2]), previous: small, previousLevel, note: () => {} },
  });
  const how = { factor: 2, augmentation: 'gaussian', time: 'timestep', channels: 3, unit: 1 } as const;
  const { lowRes, lowResTime } = lowResolutionInputs(batch, context(null), how);
  expect(lowResTime.arraySync()).toEqual([300, 300]);
  const { alpha, sigma } = augmentationLevel(300, 'timestep');
  expect(alpha ** 2 + sigma ** 2).toBeCloseTo(1, 12);
  expect(sigma / alpha).toBeCloseTo(Math.tan((Math.PI * 300) / 2000), 3);
  const resized = tf.image.resizeBilinear(small, [6, 8], false, true);
  const z = tf.tensor4d(perImageNoise([1, 2]).draw([2, 6, 8, 3], 0, sigma / alpha), [2, 6, 8, 3]);
  const expected = tf.add(tf.mul(resized, alpha), tf.mul(z, sigma)).dataSync();
  expect(relativeError(lowRes.dataSync(), expected)).toBeLessThan(1e-6);
  // x = alpha x0 + sigma z of a VE process, alpha = 1: its length is brought back to that of x0 and noise.
  const left = lowResolutionInputs(batch, context({ alpha: 1, sigma: 1 }), how);
  expect(left.lowResTime.arraySync()[0]).toBeCloseTo(500, 3);
  const scaled = tf.div(resized, Math.SQRT2).dataSync();
  expect(relativeError(left.lowRes.dataSync(), scaled)).toBeLessThan(1e-6);
});
