import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AutoencoderKL, autoencoderKLFromDiffusers } from '@mezzotint/autoencoders';
import { useBackend } from '@mezzotint/backend';
import { TorchGenerator } from '@mezzotint/core';
import { perImageNoise } from '@mezzotint/schedulers';
import { relativeError } from '@mezzotint/testing';
import { EDM, edmFromOriginal } from '@mezzotint/unet';
import { modulesAsMetadata } from '@mezzotint/weights';
import { readSafetensors, readTorch, writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { standardizedCodec } from '../src/codec.js';
import { openPipeline, type Pipeline, type Request } from '../src/node/index.js';

// Snapshots with EDM2's structure and placeholders for source text, and what the reference's sampler makes of them:
// tooling/golden/scripts/edm2_snapshot.py and edm2_sampler.py.
const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const snapshot = file('../../weights/test/fixtures/torch/edm2-img8-tiny-0000020-0.100.pkl');
const unconditional = file('fixtures/edm2-img8-tiny-uncond-0000020-0.100.pkl');
const golden = readSafetensors(file('fixtures/edm2-sampler.safetensors'));

let folder: string;
beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  folder = mkdtempSync(join(tmpdir(), 'edm-'));
  await writeTinyAutoencoder(join(folder, 'vae'));
});
afterAll(() => {
  golden.close();
  rmSync(folder, { recursive: true });
});

const config = {
  _class_name: 'AutoencoderKL',
  block_out_channels: [4, 4],
  down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D'],
  up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D'],
  layers_per_block: 1,
  latent_channels: 4,
  norm_num_groups: 2,
};

/** An autoencoder that halves the sides, random. */
async function writeTinyAutoencoder(place: string): Promise<void> {
  mkdirSync(place);
  writeFileSync(join(place, 'config.json'), JSON.stringify(config));
  const vae = new AutoencoderKL(autoencoderKLFromDiffusers(config)).init(3);
  await writeSafetensors(join(place, 'diffusion_pytorch_model.safetensors'), await vae.save());
  vae.dispose();
}

async function latents(pipeline: Pipeline, request: Request): Promise<Float32Array> {
  let last: Float32Array | undefined;
  for await (const { x } of pipeline.steps({ seed: 5, labels: '0,2', steps: 4, batch: 2, ...request })) {
    last = tf.tidy(() => tf.transpose(x, [0, 3, 1, 2]).dataSync<'float32'>().slice());
  }
  return last!;
}

describe('EDM2', () => {
  // float32 on both sides. The reference draws noise at levels without churn too, so all have it here.
  test.each<[string, Request]>([
    ['plain', {}],
    ['guided', { guidance: 1.6 }],
    ['churned', { solver: 'edm-stochastic', solverOptions: { churn: 10, min: 0, max: 100, noise: 1.003 } }],
  ])('%s: the latents of the reference’s sampler', async (name, request) => {
    const pipeline = await openPipeline(snapshot, { parts: join(folder, 'vae'), guidingModel: unconditional });
    expect(pipeline.family).toBe('EDM2');
    expect(relativeError(await latents(pipeline, request), golden.read(name).data)).toBeLessThan(1e-4);
    pipeline.dispose();
  });

  test('an interval that holds no level is no guidance, and one that holds all is guidance', async () => {
    const pipeline = await openPipeline(snapshot, { parts: join(folder, 'vae'), guidingModel: unconditional });
    const outside = await latents(pipeline, { guidance: 1.6, guidanceInterval: [100, 200] });
    const inside = await latents(pipeline, { guidance: 1.6, guidanceInterval: [0, 100] });
    expect(relativeError(outside, golden.read('plain').data)).toBeLessThan(1e-4);
    expect(relativeError(inside, golden.read('guided').data)).toBeLessThan(1e-4);
    pipeline.dispose();
  });

  test('the converted file makes the same pictures', async () => {
    const source = await readTorch(snapshot);
    const converted = join(folder, 'edm2.safetensors');
    await writeSafetensors(converted, source, { metadata: modulesAsMetadata(source.modules) });
    source.close();
    const pipelines = await Promise.all(
      [snapshot, converted].map((path) => openPipeline(path, { parts: join(folder, 'vae') })),
    );
    const [a, b] = await Promise.all(
      pipelines.map((pipeline) => pipeline.generate({ seed: 1, labels: '1', steps: 2 })),
    );
    expect(a!.images[0]!.data).toEqual(b!.images[0]!.data);
    // Latent images of 8 x 8, and an autoencoder that halves the sides.
    expect([a!.images[0]!.height, a!.images[0]!.width]).toEqual([16, 16]);
    for (const pipeline of pipelines) pipeline.dispose();
  });

  test('what does not fit is refused: no autoencoder, another size, guidance without a network', async () => {
    await expect(openPipeline(snapshot)).rejects.toThrow(
      /name a folder with their autoencoder .* with the option parts/,
    );
    const pipeline = await openPipeline(snapshot, { parts: join(folder, 'vae') });
    await expect(pipeline.check({ guidance: 2 })).rejects.toThrow(/name it with guidingModel/);
    await expect(pipeline.check({ labels: '3' })).rejects.toThrow(/3/);
    await expect(pipeline.check({ prompt: 'x' })).rejects.toThrow(/EDM2 does not take it; it takes labels, guidance/);
    pipeline.dispose();
    const wrong = {
      parts: join(folder, 'vae'),
      guidingModel: join(folder, 'vae', 'diffusion_pytorch_model.safetensors'),
    };
    await expect(openPipeline(snapshot, wrong)).rejects.toThrow(/guidingModel: .* is no snapshot of EDM or EDM2/);
  });
});

test('EDM: a network of pixels, sampled in as many steps as its size was published with', async () => {
  const kwargs = {
    ...{ img_resolution: 8, img_channels: 3, label_dim: 2, model_type: 'SongUNet', model_channels: 8 },
    ...{ channel_mult: [1, 2], num_blocks: 1, attn_resolutions: [4] },
  };
  const model = new EDM(edmFromOriginal(kwargs)).init(1);
  const path = join(folder, 'edm.safetensors');
  const modules = new Map([['ema', { className: 'EDMPrecond', args: [], kwargs }]]);
  await writeSafetensors(path, await model.save(), { metadata: modulesAsMetadata(modules) });
  const pipeline = await openPipeline(path);
  expect(pipeline.description).toBe(`${path}: EDM, 8 x 8 x 3, 2 classes`);
  expect(pipeline.defaults).toMatchObject({ height: 8, width: 8, steps: 18 });
  const x = await latents(pipeline, { labels: '0,1', steps: 2 });
  // Heun over Karras' levels 80 and 0.002 to 0, by hand with the model itself. EDM, algorithm 1.
  const expected = tf.tidy(() => {
    const [labels, levels] = [tf.tensor1d([0, 1], 'int32'), [80, 0.002, 0]];
    const noise = perImageNoise([5, 6]).draw([2, 8, 8, 3], 0, 0);
    let x = tf.mul(tf.tensor4d(noise, [2, 8, 8, 3]), levels[0]!) as tf.Tensor4D;
    const slope = (x: tf.Tensor4D, s: number) => tf.div(tf.sub(x, model.forward(x, tf.fill([2], s), { labels })), s);
    for (const [i, s] of levels.slice(0, -1).entries()) {
      const next = levels[i + 1]!;
      const d = slope(x, s);
      const euler = tf.add(x, tf.mul(d, next - s)) as tf.Tensor4D;
      x = next === 0 ? euler : tf.add(x, tf.mul(tf.add(d, slope(euler, next)), (next - s) / 2));
    }
    return tf.transpose(x, [0, 3, 1, 2]).dataSync();
  });
  expect(relativeError(x, expected)).toBeLessThan(1e-4);
  pipeline.dispose();
  model.dispose();
});

test('latent images are standardised by channel, and back', async () => {
  const vae = await new AutoencoderKL(autoencoderKLFromDiffusers(config)).init(3);
  const codec = standardizedCodec(vae, { mean: [5, 3, 0, -2], deviation: [4, 5, 3, 2], finalDeviation: 0.5 });
  tf.tidy(() => {
    const pictures = tf.tensor4d(new TorchGenerator(1).randn(192), [1, 8, 8, 3]);
    const noise = perImageNoise([1]);
    const { mean, logvar } = vae.encode(pictures);
    const eps = tf.tensor4d(perImageNoise([1]).draw(mean.shape, 0, 0), mean.shape);
    const raw = tf.add(mean, tf.mul(tf.exp(tf.mul(logvar, 0.5)), eps));
    const x = codec.encode(pictures, noise);
    const expected = tf.mul(tf.div(tf.sub(raw, [5, 3, 0, -2]), [4, 5, 3, 2]), 0.5);
    expect(relativeError(x.dataSync(), expected.dataSync())).toBeLessThan(1e-5);
    const decoded = codec.decode(x);
    expect(relativeError(decoded.dataSync(), vae.decode(raw as tf.Tensor4D).dataSync())).toBeLessThan(1e-5);
  });
  vae.dispose();
});
