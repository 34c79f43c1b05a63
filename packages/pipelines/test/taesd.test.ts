import { readFileSync } from 'node:fs';
import { AutoencoderTiny, autoencoderTinyFromDiffusers } from '@mezzotint/autoencoders';
import { useBackend } from '@mezzotint/backend';
import { readSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { openPipeline } from '../src/node/index.js';
import { fixture, sampleFixture } from './support/goldens.js';

beforeAll(async () => void (await useBackend({ engine: 'cpu' })));

const taesd = fixture('tiny-vae');
const request = { prompt: 'a red cat', seed: 3, steps: 2, height: 16, width: 16 };

test('previews are what TAESD makes of the estimate; the picture is the one without it', async () => {
  const tiny = new AutoencoderTiny(
    autoencoderTinyFromDiffusers(JSON.parse(readFileSync(`${taesd}/config.json`, 'utf8'))),
  );
  const file = readSafetensors(`${taesd}/diffusion_pytorch_model.safetensors`);
  await tiny.load(file);
  file.close();
  const [plain, shown] = [
    await openPipeline(sampleFixture('tiny-sd')),
    await openPipeline(sampleFixture('tiny-sd'), { taesd }),
  ];
  const { images } = await plain.generate(request);
  for await (const step of shown.steps(request)) {
    const [preview] = await step.preview();
    const decoded = tf.tidy(() => tiny.decode(step.x0));
    expect([preview!.height, preview!.width]).toEqual(decoded.shape.slice(1, 3));
    const bytes = [...decoded.dataSync()].map((v) => Math.min(Math.max(Math.round((v + 1) * 127.5), 0), 255));
    expect(Math.max(...bytes.map((byte, i) => Math.abs(byte - preview!.data[i]!)))).toBeLessThanOrEqual(1);
    decoded.dispose();
    if (step.images !== null) expect(step.images[0]!.data).toEqual(images[0]!.data);
  }
  // Without it the linear map of the family has one pixel for each latent pixel.
  for await (const step of plain.steps(request)) expect((await step.preview())[0]!.height).toBe(step.x0.shape[1]);
  for (const held of [plain, shown, tiny]) held.dispose();
});

test('a model whose latent images it does not read is refused by name', async () => {
  await expect(openPipeline(fixture('tiny-ddpm'), { taesd })).rejects.toThrow(/DDPM makes no latent images/);
  await expect(openPipeline(sampleFixture('tiny-sd'), { taesd: sampleFixture('tiny-sd') })).rejects.toThrow();
});
