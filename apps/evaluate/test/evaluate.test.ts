import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { saveModel } from '@mezzotint/app';
import { runApp, tinyNetwork, writeImageFolder, writeTinyModel } from '@mezzotint/app/testing';
import { useBackend } from '@mezzotint/backend';
import { type ClassifierConfig, NoisyClassifier } from '@mezzotint/unet';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { evaluateCommand } from '../src/command.js';
import { evaluateModel } from '../src/evaluate-model.js';
import { labelAccuracy, score } from '../src/scores.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-evaluate-'));
const [model, classifier, images] = ['model', 'classifier', 'images'].map((name) => join(root, name)) as [
  string,
  string,
  string,
];
const evaluate = (...argv: string[]) => runApp(evaluateCommand(), evaluateModel, ['--engine', 'cpu', ...argv]);

beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  await writeTinyModel(model);
  await writeImageFolder(images, 16);
  const { outChannels: _out, headsUp: _heads, nullLabel: _null, ...encoder } = tinyNetwork;
  const network: ClassifierConfig = { ...encoder, classes: 2, pool: 'attention' };
  const read = new NoisyClassifier(network).init(1);
  await saveModel(
    classifier,
    {
      format: 'mezzotint/classifier@1',
      architecture: 'NoisyClassifier',
      network: network as unknown as Record<string, unknown>,
      image: { size: 8, channels: 1 },
      classes: ['a', 'b'],
      process: null,
    },
    read,
  );
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('scores each guidance scale against the images, and real images against real ones', async () => {
  const argv = ['--model', model, '--classifier', classifier, '--data', images, '--count', '16', '--guidance', '1,2'];
  const { code, out, err } = await evaluate(...argv, '--json');
  expect(err).not.toMatch(/fault/);
  expect(code).toBe(0);
  const result = JSON.parse(out) as { rows: Record<string, number>[]; realFrechetDistance: number };
  expect(result.rows.map((row) => row.guidance)).toEqual([1, 2]);
  expect(result.realFrechetDistance).toBeGreaterThanOrEqual(0);
  for (const row of result.rows) {
    expect(row.frechetDistance).toBeGreaterThan(result.realFrechetDistance); // Noise from an untrained network.
    expect(row.labelAccuracy).toBeGreaterThanOrEqual(0);
    for (const share of ['precision', 'recall', 'coverage']) expect(row[share]).toBeLessThanOrEqual(1);
  }
});

test('a set against itself: no distance, everything covered', () => {
  const data = Float32Array.from({ length: 200 }, (_, i) => Math.sin(i * i));
  const same = { data, count: 50, dim: 4 };
  const scores = score(same, same);
  expect(scores.frechetDistance).toBeCloseTo(0, 9); // float64 throughout
  expect(scores).toMatchObject({ precision: 1, recall: 1, coverage: 1 });
});

test('share of labels', () => {
  expect(labelAccuracy(Int32Array.of(1, 2, 3, 3), [1, 2, 3, 4])).toBe(0.75);
});

test.each<[string, string[], RegExp]>([
  ['nothing said', [], /--model.*\n.*--classifier/],
  ['no such classifier', ['--model', model, '--classifier', 'nowhere'], /nowhere: no such folder/],
  ['a model as classifier', ['--model', model, '--classifier', model], /format/],
  ['bad scale', ['--model', model, '--classifier', classifier, '--guidance', '1,x'], /--guidance: expected a number/],
  [
    'no images',
    ['--model', model, '--classifier', classifier, '--data', join(root, 'none')],
    /no such folder of images/,
  ],
  [
    'images of another size',
    ['--model', model, '--classifier', classifier, '--data', 'digits'],
    /expected images of 8 x 8/,
  ],
])('%s: one clear message, exit code 2', async (_, argv, message) => {
  const { code, err } = await evaluate(...argv);
  expect(err).toMatch(message);
  expect(code).toBe(2);
});
