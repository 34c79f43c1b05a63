import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import { EngineWorker, type JobContext } from '@mezzotint/backend/worker';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import type { Progress } from '@mezzotint/pipelines';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, expect, test } from 'vitest';
import type { SampleJobs } from '../src/jobs.js';
import { makePictures, type PictureRequest } from '../src/make-pictures.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-thread-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const order: PictureRequest = {
  model: fixture('tiny-sdxl'),
  options: { refiner: fixture('tiny-sdxl-refiner') },
  request: { denoisingEnd: 0.5, prompt: 'a cat', steps: 4, count: 3, batch: 2, height: 8, width: 8 },
  replayed: undefined,
};

test('makes the same bytes in a thread as in this one, and reports every stage from its first to its last', async () => {
  const engine = await useBackend({ engine: 'cpu' });
  const here = await makePictures(order, { signal: AbortSignal.timeout(100_000), engine, report: () => {} });
  const worker = await EngineWorker.start<SampleJobs>(new URL('../src/jobs.ts', import.meta.url), { engine: 'cpu' });
  const reports: Progress[] = [];
  const there = await worker
    .run('makePictures', order, { onReport: (report) => reports.push(report) })
    .finally(() => worker.close());
  expect(there.images).toEqual(here.images);
  expect(there.recipe).toEqual(here.recipe);
  expect(new Set(here.images[0]!.data).size).toBeGreaterThan(10); // Pictures, not a constant.
  const named = reports.map(({ phase, stage }) => `${stage} ${phase}`);
  const phases = named.filter((name, i, all) => name !== all[i - 1]);
  const each = (stage: string) => ['loading', 'encoding', 'loading', 'sampling'].map((phase) => `${stage} ${phase}`);
  // The text encoders are freed before the network is loaded. The refiner's pictures are decoded batch by batch.
  const decoding = ['refiner decoding', 'refiner sampling', 'refiner decoding'];
  expect(phases).toEqual([...each('base'), ...each('refiner'), ...decoding]);
  const of = (stage: string, wanted: Progress['phase']) =>
    reports
      .filter((report) => report.stage === stage && report.phase === wanted)
      .map(({ done, total }) => [done, total]);
  // Two batches; the base runs two steps of four, and so does the refiner.
  for (const stage of ['base', 'refiner']) expect(of(stage, 'sampling')).toEqual([1, 2, 3, 4].map((done) => [done, 4]));
  for (const { done, total } of reports) expect(done).toBeLessThanOrEqual(total);
});

test.each<Progress['phase']>(['loading', 'encoding', 'sampling', 'decoding'])(
  'stopped while %s: the reason is thrown, nothing is left in memory',
  async (phase) => {
    const engine = await useBackend({ engine: 'cpu' });
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    let after = 0;
    const context: JobContext<Progress> = {
      ...{ engine, signal: controller.signal },
      report(report) {
        if (controller.signal.aborted) after++;
        else if (report.phase === phase && report.done > 0) controller.abort('enough');
      },
    };
    await expect(makePictures(order, context)).rejects.toBe('enough');
    expect(after).toBe(0); // It stops at the very report.
    expect(tf.memory().numTensors).toBe(before);
  },
);

test('single pictures are written as their batch ends: what was made before a stop is there', async () => {
  const engine = await useBackend({ engine: 'cpu' });
  const controller = new AbortController();
  const folder = { path: join(root, 'single'), overwrite: false };
  const context: JobContext<Progress> = {
    ...{ engine, signal: controller.signal },
    // The refiner's third step is the first of the second batch.
    report: ({ stage, phase, done }) =>
      void (stage === 'refiner' && phase === 'sampling' && done > 2 && controller.abort('enough')),
  };
  await expect(makePictures({ ...order, folder }, context)).rejects.toBe('enough');
  expect(readdirSync(folder.path).sort()).toEqual(['00000-seed-0.png', '00001-seed-1.png']);
  const again = (overwrite: boolean) =>
    makePictures(
      { ...order, folder: { ...folder, overwrite } },
      { engine, signal: new AbortController().signal, report: () => {} },
    );
  await expect(again(false)).rejects.toThrow(/00000-seed-0.png, 00001-seed-1.png: exist already/);
  const { images, files } = await again(true);
  expect([images.length, files.map((file) => basename(file))]).toEqual([0, readdirSync(folder.path).sort()]);
  expect(files).toHaveLength(3);
  rmSync(folder.path, { recursive: true });
});

test('what goes wrong in the thread keeps its class and its facts', async () => {
  const worker = await EngineWorker.start<SampleJobs>(new URL('../src/jobs.ts', import.meta.url), { engine: 'cpu' });
  const fail = (changes: Partial<PictureRequest>) =>
    worker.run('makePictures', { ...order, ...changes }).catch((error: unknown) => error);
  const size = await fail({ request: { ...order.request, height: 17 } });
  expect(InvalidArgumentError.isInstance(size) && size.problems).toEqual(['height: expected a multiple of 2, got 17']);
  const variant = await fail({ options: { variant: 'fp8' } });
  expect(InvalidFileError.isInstance(variant) && variant.problem).toMatch(/no weights of the variant "fp8"/);
  await worker.close();
});

test('Ctrl-C between steps of a long run: exit code 130, no file and no piece of one', async () => {
  const flags = ['--engine', 'cpu', '--model', fixture('tiny-sd'), '--prompt', 'a cat', '--steps', '900'];
  const app = spawn(
    process.execPath,
    [
      ...['--conditions=@mezzotint/source', '--import', '../../tooling/setup/typescript.mjs', 'src/main.ts'],
      ...[...flags, '--out', join(root, 'never.png')],
    ],
    { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  app.stderr.on('data', (chunk) => {
    const before = said;
    said += chunk;
    if (!before.includes('Sampling') && said.includes('Sampling')) app.kill('SIGINT');
  });
  const code = await new Promise((done) => app.on('exit', done));
  expect(said).toMatch(/Loading[\s\S]*Encoding[\s\S]*Sampling[\s\S]*Stopping after this step/);
  expect(code, said).toBe(130);
  expect(said).not.toMatch(/\n {4}at /);
  expect(readdirSync(root)).toEqual([]);
});
