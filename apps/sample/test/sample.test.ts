import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runApp, writeTinyModel } from '@mezzotint/app/testing';
import { useBackend } from '@mezzotint/backend';
import { readPngText } from '@mezzotint/data';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sampleCommand } from '../src/command.js';
import { sampleToFile } from '../src/sample-to-file.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-sample-'));
const model = join(root, 'model');
const sample = (...argv: string[]) => runApp(sampleCommand(), sampleToFile, ['--engine', 'cpu', ...argv]);

beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  await writeTinyModel(model);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('writes the picture, says where, and ends with one line of JSON', async () => {
  const file = join(root, 'a.png');
  const layout = ['--columns', '1', '--scale', '3']; // of a grid, which its replay has too
  const { code, out } = await sample('--model', model, '--out', file, '--count', '2', ...layout, '--json');
  expect(code).toBe(0);
  const lines = out.trim().split('\n');
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0]!)).toMatchObject({ file, engine: 'cpu', labels: [0, 1], count: 2, seed: 0, guidance: 2 });
  const recipe = JSON.parse((await readPngText(file)).mezzotint!) as Record<string, unknown>;
  expect(recipe).toMatchObject({ recipe: 2, steps: 4, seed: 0, labels: [0, 1], columns: 1, scale: 3 });
  const again = join(root, 'a-again.png');
  expect((await sample('--replay', file, '--out', again)).code).toBe(0);
  expect(readFileSync(again).equals(readFileSync(file))).toBe(true);
});

test('pictures into a folder that has one of them are refused before any is made', async () => {
  const folder = join(root, 'single');
  const flags = ['--model', model, '--steps', '1', '--labels', '0', '--count', '3', '--out', `${folder}/`];
  const first = await sample(...flags, '--json');
  const names = ['00000-seed-0.png', '00001-seed-1.png', '00002-seed-2.png'];
  expect(JSON.parse(first.out)).toMatchObject({ files: names.map((name) => join(folder, name)) });
  rmSync(join(folder, names[0]!));
  const refused = await sample(...flags);
  expect(refused).toMatchObject({ code: 2, out: '' });
  expect(refused.err).toMatch(
    /00001-seed-1.png, 00002-seed-2.png: exist already: choose another folder, or pass --over/,
  );
  expect(refused.err).not.toMatch(/Sampling/);
  expect(existsSync(join(folder, names[0]!))).toBe(false);
  // One of them alone is the same file.
  const again = join(root, 'single-again.png');
  expect((await sample('--replay', join(folder, names[2]!), '--out', again)).code).toBe(0);
  expect(readFileSync(again).equals(readFileSync(join(folder, names[2]!)))).toBe(true);
});

test('the same seed gives the same file, another seed another one', async () => {
  const files = ['b1.png', 'b2.png', 'b3.png'].map((name) => join(root, name));
  for (const [i, seed] of ['7', '7', '8'].entries()) {
    expect((await sample('--model', model, '--out', files[i]!, '--count', '2', '--seed', seed)).code).toBe(0);
  }
  const [a, b, c] = files.map((file) => readFileSync(file)) as [Buffer, Buffer, Buffer];
  expect(a.equals(b)).toBe(true);
  expect(a.equals(c)).toBe(false);
});

test('settings from a file; flags win', async () => {
  const settings = join(root, 'settings.json');
  writeFileSync(settings, JSON.stringify({ model, steps: 3, labels: 'b', count: 2, out: join(root, 'c.png') }));
  const { out } = await sample('--config', settings, '--count', '1', '--json');
  expect(JSON.parse(out)).toMatchObject({ steps: 3, labels: [1], count: 1 });
});

test('an existing file is kept unless --overwrite', async () => {
  const file = join(root, 'kept.png');
  writeFileSync(file, 'mine');
  const refused = await sample('--model', model, '--out', file, '--count', '1');
  expect(refused).toMatchObject({ code: 2, out: '' });
  expect(refused.err).toMatch(/kept.png: exists already/);
  expect(readFileSync(file, 'utf8')).toBe('mine');
  expect((await sample('--model', model, '--out', file, '--count', '1', '--overwrite')).code).toBe(0);
  expect(readFileSync(file).subarray(1, 4).toString()).toBe('PNG');
});

test.each<[string, string[], RegExp]>([
  ['unknown flag', ['--stepz', '3'], /unknown option '--stepz'/],
  ['no model', [], /--model: expected a model folder/],
  ['missing model', ['--model', 'nowhere'], /--model: nowhere: no such file or folder/],
  ['label out of range', ['--model', model, '--labels', '0,9'], /"9" is no label/],
  ['no number', ['--model', model, '--steps', 'many'], /--steps: expected a whole number/],
  ['unknown solver', ['--model', model, '--solver', 'magic'], /--solver: expected one of/],
  ['solver that does not fit', ['--model', model, '--solver', 'ddpm-learned'], /learned the variance/],
  ['missing settings', ['--config', 'nowhere.json'], /nowhere.json: no such file/],
  ['unknown engine', ['--model', model, '--engine', 'abacus'], /'abacus'/],
])('%s: one clear message, exit code 2, no file', async (_, argv, message) => {
  const file = join(root, 'never.png');
  const { code, err, out } = await sample(...argv, '--out', file);
  expect(err).toMatch(message);
  expect(err).not.toMatch(/\n {4}at /); // no stack trace
  expect(code).toBe(2);
  expect(out).toBe('');
  expect(existsSync(file)).toBe(false);
});

test('--help says enough', async () => {
  const { code, out } = await sample('--help');
  expect(code).toBe(0);
  for (const flag of ['--model', '--labels', '--guidance', '--solver', '--seed', 'Example'])
    expect(out).toContain(flag);
});
