import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openClassifier, openDiffusionModel } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { MezzotintError } from '@mezzotint/core';
import { writeSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { tinyConfig, writeTinyModel } from '../src/testing/index.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-app-'));
const good = join(root, 'good');
let folder: string;

beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  await writeTinyModel(good);
});
beforeEach(() => {
  folder = mkdtempSync(join(root, 'case-'));
  for (const file of ['config.json', 'model.safetensors']) copyFileSync(join(good, file), join(folder, file));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const config = (change: object) =>
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...tinyConfig, ...change }));
const problem = async (): Promise<string> => {
  const error: unknown = await openDiffusionModel(folder).then(
    () => new Error('it opened'),
    (e: unknown) => e,
  );
  expect(MezzotintError.isInstance(error)).toBe(true); // One of ours: a message for people, exit code 2.
  return (error as Error).message;
};

test('opens a model whose weights are in 8 bits, each within half a step of its row', async () => {
  const whole = (await openDiffusionModel(good)).model.params();
  const file = join(folder, 'model.safetensors');
  await writeSafetensors(file, await (await openDiffusionModel(good)).model.save(), { dtype: 'I8', overwrite: true });
  const rounded = (await openDiffusionModel(folder)).model.params();
  for (const [name, { value }] of whole) {
    const [a, b] = [value.dataSync(), rounded.get(name)!.value.dataSync()];
    const largest = Math.max(...a.map(Math.abs));
    const furthest = Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));
    expect(furthest, name).toBeLessThanOrEqual(largest / 254 + 1e-7);
  }
});

test('opens what was saved, also as the model of a run', async () => {
  const { architecture, signature } = await openDiffusionModel(good);
  expect(architecture.name).toBe('ADMUNet');
  expect(signature).toMatchObject({ inChannels: 1, classes: 2, nullLabel: true });
  const run = join(root, 'run');
  await writeTinyModel(join(run, 'model'));
  expect((await openDiffusionModel(run)).path).toBe(join(run, 'model'));
});

test('names every wrong setting at once', async () => {
  config({ image: { size: -1, channels: 2 }, process: { ...tinyConfig.process, betas: 'quadratic' } });
  const text = await problem();
  for (const place of ['image.size', 'image.channels', 'process.betas']) expect(text).toContain(place);
});

test('a network that does not fit its classes', async () => {
  config({ classes: ['a', 'b', 'c'] });
  expect(await problem()).toContain('3 classes need network.classes 3, it is 2');
});

test('a folder of an older version, whose classes counted the null label', async () => {
  const { nullLabel: _, ...older } = { ...tinyConfig.network, classes: 3 } as Record<string, unknown>;
  config({ network: older });
  const opened = await openDiffusionModel(folder);
  expect(opened.signature).toMatchObject({ classes: 2, nullLabel: true });
  expect(opened.config.network).toEqual(tinyConfig.network);
});

test('an architecture, and settings of a network, that there are not', async () => {
  config({ architecture: 'UNot' });
  expect(await problem()).toMatch(/expected one of ADMUNet, .*DiT.*, got 'UNot'/);
  const { groups: _, ...rest } = tinyConfig.network;
  config({ network: { ...rest, gruops: 4 } });
  expect(await problem()).toMatch(/gruops: unknown setting[\s\S]*groups: missing/);
});

test('weights of another architecture: all differences', async () => {
  config({ network: { ...tinyConfig.network, channelMult: [1, 3] } });
  expect(await problem()).toContain('Weights do not fit ADMUNet');
});

test('a classifier is not a diffusion model', async () => {
  await expect(openClassifier(folder)).rejects.toThrow(/format/);
});

test('damaged weights', async () => {
  const file = join(folder, 'model.safetensors');
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.subarray(0, bytes.length - 100));
  expect(await problem()).toContain('model.safetensors');
  writeFileSync(file, Buffer.concat([Buffer.from([255, 255, 255, 255, 255, 255, 0, 0]), bytes.subarray(8)]));
  expect(await problem()).toContain('model.safetensors');
});

test('not a folder, an empty folder, broken JSON', async () => {
  await expect(openDiffusionModel(join(root, 'nowhere'))).rejects.toThrow(/no such folder/);
  await expect(openDiffusionModel(join(good, 'config.json'))).rejects.toThrow(/got a file/);
  await expect(openDiffusionModel(mkdtempSync(join(root, 'empty-')))).rejects.toThrow(/holds no model/);
  writeFileSync(join(folder, 'config.json'), '{');
  expect(await problem()).toContain('not JSON');
});
