import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runApp } from '@mezzotint/app/testing';
import { switchTo } from '@mezzotint/backend/testing';
import { encodePng } from '@mezzotint/data';
import { openPipeline } from '@mezzotint/pipelines/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { trainCommand } from '../src/command.js';
import { trainConfigSchema, type WholeSuperResolutionTask } from '../src/config.js';
import { wholeConfig } from '../src/defaults.js';
import { superResolutionTask } from '../src/super-resolution-task.js';
import { trainRun } from '../src/train-run.js';
import { openTrainingData } from '../src/training-data.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-sr-'));
const train = (...argv: string[]) => runApp(trainCommand(), trainRun, ['--engine', 'wasm', ...argv]);

/** Two classes of 16 x 16 pictures. */
beforeAll(() => {
  for (const [label, name] of ['cats', 'dogs'].entries()) {
    mkdirSync(join(root, 'pictures', name), { recursive: true });
    for (let i = 0; i < 4; i++) {
      const data = Uint8Array.from({ length: 16 * 16 * 3 }, (_, e) => (e * (7 + i) + 90 * label) % 256);
      writeFileSync(join(root, 'pictures', name, `${i}.png`), encodePng({ data, height: 16, width: 16, channels: 3 }));
    }
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const adm = {
  ...{ imageSize: 8, inChannels: 3, outChannels: 3, modelChannels: 8, channelMult: [1, 2], resBlocks: 1, groups: 4 },
  ...{ attentionResolutions: [], heads: { count: 1 }, headsUp: { count: 1 }, attentionOrder: 'new', dropout: 0 },
  ...{ timeConditioning: 'scale-shift', resampling: 'residual', classes: 2, nullLabel: true, lowResTime: true },
};

function config(name: string, change: object): string {
  const file = join(root, `${name}.json`);
  const data = { kind: 'folder', path: join(root, 'pictures'), size: 16, threads: 0 };
  const own = { task: 'super-resolution', data, network: adm, crop: 8, steps: 2, batchSize: 2, every: { sample: 2 } };
  const sampling = { solver: 'ddim', steps: 1, guidance: 1 };
  writeFileSync(file, JSON.stringify({ ...own, superResolution: { factor: 2 }, sampling, ...change }));
  return file;
}

test('an upsampler of ADM learns random squares of larger pictures, and enlarges pictures of any size', async () => {
  const run = join(root, 'adm');
  const superResolution = { factor: 2, downsampling: 'bicubic', augmentation: 'truncated', most: 400, noiseLevel: 50 };
  const { code, out } = await train('--config', config('adm', { superResolution }), '--run', run);
  expect(code).toBe(0);
  expect(out).toContain('SuperResolutionUNet');
  expect(readdirSync(join(run, 'samples'))).toEqual(['step-0000002.png']);
  await switchTo('wasm');
  const pipeline = await openPipeline(run);
  expect(pipeline.defaults).toMatchObject({ noiseLevel: 50, steps: 1 });
  const image = { data: new Uint8Array(6 * 10 * 3).fill(50), height: 6, width: 10, channels: 3 as const };
  const { images } = await pipeline.generate({ image, labels: 'dogs', noiseLevel: 10 });
  expect([images[0]!.height, images[0]!.width]).toEqual([12, 20]);
  pipeline.dispose();
});

test("Imagen's Efficient U-Net in a size of its own; the recipe is Imagen's", async () => {
  const run = join(root, 'efficient');
  const file = config('efficient', { architecture: 'EfficientUNet', network: 'small', crop: 16, batchSize: 1 });
  expect((await train('--config', file, '--run', run)).code).toBe(0);
  await switchTo('wasm');
  const pipeline = await openPipeline(run);
  expect(pipeline.upscaling).toMatchObject({ factor: 2, size: 8 });
  expect(pipeline.takes).toContain('noiseLevel');
  pipeline.dispose();
});

test("the upsampler's own recipe, which learns the variance, trains a network that has the channels for it", async () => {
  const run = join(root, 'learned');
  const file = config('learned', { recipe: 'improved-ddpm', network: { ...adm, outChannels: 6 }, steps: 1 });
  expect(await train('--config', file, '--run', run)).toMatchObject({ code: 0 });
  const without = config('without', { recipe: 'improved-ddpm' });
  const refused = await train('--config', without, '--run', join(root, 'without'));
  expect(refused.err).toMatch(/outChannels is 3, the recipe needs 6/);
});

test('what does not fit is said before anything is written', async () => {
  const superResolution = { factor: 3 };
  const wrong = config('wrong', { superResolution, network: { ...adm, lowResTime: false } });
  const { code, err } = await train('--config', wrong, '--run', join(root, 'wrong'));
  expect(code).not.toBe(0);
  expect(err).toMatch(/factor: 3 does not divide the 8 pixels/);
  expect(err).toMatch(/is not told how noisy the small picture is \(lowResTime: false\)/);
});

test('squares that are larger than the shortest side of a bucket are refused, smaller ones are cut from whole pictures', async () => {
  await switchTo('wasm');
  const task = async (crop: number) => {
    const data = { kind: 'folder', path: join(root, 'pictures'), size: 16, threads: 0, buckets: { step: 4 } };
    const own = { task: 'super-resolution', data, network: { ...adm, imageSize: crop }, crop, steps: 1, batchSize: 2 };
    const asked = trainConfigSchema.parse({ ...own, superResolution: { factor: 2 } });
    return superResolutionTask(wholeConfig(asked, 16) as WholeSuperResolutionTask, await openTrainingData(asked.data));
  };
  // Of 16 x 16 in steps of 4, at most 2 to 1: 12 x 20, 16 x 16 and 20 x 12.
  await expect(task(16)).rejects.toThrow(
    /data.buckets: squares of 16 pixels are learned, and the shortest side of a bucket has 12: expected a crop of at most 12/,
  );
  expect((await task(12)).model.constructor.name).toBe('SuperResolutionUNet');
});

test("weights that Imagen's recipe would not use are refused, where no recipe is named too", () => {
  const logSnr = { kind: 'log-snr', prediction: 'v', curve: { kind: 'cosine', min: -15, max: 15, shift: 0 } };
  for (const change of [{}, { process: { ...logSnr, time: 'fraction', timeScale: 1000 } }, { recipe: 'imagen' }]) {
    const data = { kind: 'folder', path: join(root, 'pictures'), size: 16 };
    const own = { task: 'super-resolution', data, network: adm, steps: 1, batchSize: 2, weighting: 'min-snr' };
    const asked = trainConfigSchema.parse({ ...own, superResolution: { factor: 2 }, ...change });
    expect(() => wholeConfig(asked, 16)).toThrow(/weighting: the recipe imagen.* has its own weights, .*got 'min-snr'/);
  }
});
