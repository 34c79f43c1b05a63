import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writePng } from '@mezzotint/data';
import type { PictureBytes } from '@mezzotint/features';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { evaluateCommand } from '../src/command.js';
import { type Engine, folderSource, modelSource, withTexts } from '../src/sources.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-sources-'));
beforeAll(async () => {
  for (let i = 0; i < 9; i++) {
    const size = 2 + (i % 2); // of two sizes
    await writePng(join(root, `${i}.png`), {
      data: new Uint8Array(size * size).fill(10 * i),
      height: size,
      width: size,
      channels: 1,
    });
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const asked: unknown[] = [];
const rows = (values: number[]) => ({ data: Float32Array.from(values), count: values.length, dim: 1 });
/** A network whose feature of a picture is its first byte, and of a text its number. */
const jobs: Record<string, (input: never) => unknown> = {
  judge: (pictures: PictureBytes[]) => ({ features: rows(pictures.map(({ data }) => data[0]!)) }),
  embedTexts: (texts: string[]) => rows(texts.map(Number)),
  makeAndJudge: (plan: { seed: number; count: number }) => {
    asked.push(plan);
    return { features: rows(Array.from({ length: plan.count }, (_, i) => plan.seed + i)) };
  },
};
const worker = { run: async (job: string, input: never) => jobs[job]!(input) };
const engine = { worker, signal: new AbortController().signal } as unknown as Engine;
const texts = Array.from({ length: 9 }, (_, i) => String(10 * i));

test('each picture of a folder has its own text, whatever part is taken in whatever order', async () => {
  for (const [from, take] of [
    [0, 100],
    [0, 4],
    [4, 4],
  ] as const) {
    const source = folderSource(engine, root, from, take, texts);
    expect(source.count).toBe(Math.min(take, 9));
    for (let first = 0; first < source.count; first += 3) {
      const { features, texts: read } = await source.judge(first, Math.min(3, source.count - first), () => undefined);
      expect(read).toEqual(features);
    }
  }
  const names = [0, 4].map((from) => folderSource(engine, root, from, 4).identity);
  expect(new Set(names).size).toBe(2); // two parts are two sets of pictures
  expect(() => folderSource(engine, root, 0, 100, ['1'])).toThrow(/expected 9 prompts, one for each picture .* got 1/);
});

test('a model is asked for each batch by its seeds, labels and prompts', async () => {
  const plan = { seed: 5, labels: [0, 1, 0, 1], prompts: ['5', '6', '7', '6'], guidance: 2 };
  const source = withTexts(engine, modelSource(engine, 'm', 4, plan), plan.prompts);
  const judged = await source.judge(1, 2, () => undefined);
  expect(asked).toEqual([{ seed: 6, count: 2, labels: [1, 0], prompts: ['6', '7'], guidance: 2 }]);
  expect(judged.labels).toEqual([1, 0]);
  expect(judged.texts).toEqual(judged.features);
  // Texts have numbers: the same one for the same text, whatever batch it is in.
  expect(judged.textIds).toEqual([1, 2]);
  expect((await source.judge(3, 1, () => undefined)).textIds).toEqual([1]);
});

test('the README has every flag', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const known = ['--neighbours', '--engine', '--batch', '--count', '--solver', '--steps']; // their help says all
  for (const { long } of evaluateCommand().options) {
    if (!known.includes(long!)) expect(readme, long!).toContain(long!);
  }
});
