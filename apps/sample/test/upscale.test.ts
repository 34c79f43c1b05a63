import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DiffusionConfig, saveModel } from '@mezzotint/app';
import { runApp } from '@mezzotint/app/testing';
import { useBackend } from '@mezzotint/backend';
import { encodePng, readImage, readPngText } from '@mezzotint/data';
import { type SuperResolutionConfig, SuperResolutionUNet } from '@mezzotint/unet';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sampleCommand } from '../src/command.js';
import { sampleToFile } from '../src/sample-to-file.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-upscale-'));
const [model, small] = [join(root, 'upsampler'), join(root, 'small.png')];
const sample = (...argv: string[]) => runApp(sampleCommand(), sampleToFile, ['--engine', 'cpu', ...argv]);
const picture = (seed: number) => {
  const data = Uint8Array.from({ length: 6 * 10 * 3 }, (_, i) => (i * seed) % 256);
  return encodePng({ data, height: 6, width: 10, channels: 3 });
};

beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  const network: SuperResolutionConfig = {
    ...{ imageSize: 8, inChannels: 3, outChannels: 3, modelChannels: 4, channelMult: [1], resBlocks: 1, groups: 2 },
    ...{ attentionResolutions: [], heads: { count: 1 }, headsUp: { count: 1 }, attentionOrder: 'new', dropout: 0 },
    ...{ timeConditioning: 'scale-shift', resampling: 'residual', classes: 2, nullLabel: true, lowResTime: true },
  };
  const config = {
    ...{ format: 'mezzotint/diffusion@1', architecture: 'SuperResolutionUNet', network, classes: ['a', 'b'] },
    ...{ image: { size: 8, channels: 3 }, sampling: { solver: 'ddim', steps: 2, guidance: 1 } },
    process: { kind: 'discrete', betas: 'cosine', steps: 1000, prediction: 'v', learnedVariance: false },
    superResolution: { factor: 2, downsampling: 'area', augmentation: 'gaussian', most: 1000, noiseLevel: 30 },
  } as unknown as DiffusionConfig;
  await saveModel(model, config, new SuperResolutionUNet(network).init(1), { half: false });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('an enlarged picture has the recipe in it that makes the same file again', async () => {
  writeFileSync(small, picture(7));
  const [large, again] = [join(root, 'large.png'), join(root, 'again.png')];
  const flags = [
    '--upscale',
    small,
    '--tile',
    '4',
    '--overlap',
    '2',
    '--labels',
    'b',
    '--seed',
    '5',
    '--noise-level',
    '100',
  ];
  const first = await sample('--model', model, '--out', large, ...flags);
  expect(first.code).toBe(0);
  const { height, width } = await readImage(large);
  expect([height, width]).toEqual([12, 20]);
  const recipe = JSON.parse((await readPngText(large)).mezzotint!) as Record<string, unknown>;
  const said = { model, upscale: small, tile: 4, overlap: 2, labels: [1], seed: 5, noiseLevel: 100, steps: 2 };
  expect(recipe).toMatchObject({ recipe: 2, ...said });
  expect(Object.keys(recipe.inputs as object)).toContain(small);
  expect(recipe).not.toHaveProperty('image');
  expect((await sample('--replay', large, '--out', again)).code).toBe(0);
  expect(readFileSync(again).equals(readFileSync(large))).toBe(true);
  // Another picture by the same name is not enlarged in its place.
  writeFileSync(small, picture(9));
  const other = await sample('--replay', large, '--out', join(root, 'other.png'));
  expect(other.code).not.toBe(0);
  expect(other.err).toMatch(/not what they were when the picture was made: .*small\.png/);
});

test('what the flags leave out stands in the recipe as it was: the tile, and what tiles share', async () => {
  writeFileSync(small, picture(7));
  const large = join(root, 'plain.png');
  expect((await sample('--model', model, '--out', large, '--upscale', small)).code).toBe(0);
  const recipe = JSON.parse((await readPngText(large)).mezzotint!) as Record<string, unknown>;
  expect(recipe).toMatchObject({ tile: 64, overlap: 16, labels: [0], seed: 0, noiseLevel: 30 });
});
