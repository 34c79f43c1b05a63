import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useBackend } from '@mezzotint/backend';
import { EngineWorker } from '@mezzotint/backend/worker';
import { InvalidArgumentError } from '@mezzotint/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  openDiffusionModel,
  openRemoteModel,
  type SamplingJobs,
  type SamplingPlan,
  sampleImages,
} from '../src/index.js';
import { writeTinyModel } from '../src/testing/index.js';

const folder = mkdtempSync(join(tmpdir(), 'mezzotint-jobs-'));
const plan: SamplingPlan = {
  ...{ solver: 'ddim', steps: 3, guidance: 2, seed: 5 },
  ...{ labels: [0, 1, 1], count: 3, batchSize: 2 },
};
let worker: EngineWorker<SamplingJobs>;
beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  await writeTinyModel(folder);
  worker = await EngineWorker.start<SamplingJobs>(new URL('./fixtures/jobs.ts', import.meta.url), { engine: 'cpu' });
});
afterAll(async () => {
  await worker.close();
  rmSync(folder, { recursive: true, force: true });
});

test('a model in a thread makes the same bytes as one in this thread, and reports each step', async () => {
  const here = await openDiffusionModel(folder);
  const there = await openRemoteModel(worker, folder);
  expect(there).toMatchObject({ path: here.path, config: here.config });
  const [expected, steps]: [Uint8Array, [number, number][]] = [(await sampleImages(here, plan)).images, []];
  const got = await there.sampleImages(plan, { onStep: (done, total) => steps.push([done, total]) });
  expect(got).toMatchObject({ count: 3, height: 8, width: 8, channels: 1 });
  expect(got.images).toEqual(expected);
  expect(new Set(expected).size).toBeGreaterThan(10); // Pictures, not a constant.
  expect(steps).toEqual([1, 2, 3, 4, 5, 6].map((done) => [done, 6])); // Two batches of three steps.
  here.model.dispose();
});

test('Ctrl-C stops it between two steps; the model samples on afterwards', async () => {
  const model = await openRemoteModel(worker, folder);
  const controller = new AbortController();
  let last = 0;
  const run = model.sampleImages(
    { ...plan, steps: 100 },
    {
      signal: controller.signal,
      onStep(done) {
        last = done;
        controller.abort();
      },
    },
  );
  await expect(run).rejects.toMatchObject({ name: 'AbortError' });
  expect(last).toBeLessThan(200);
  expect((await model.sampleImages({ ...plan, labels: [0], count: 1 })).count).toBe(1);
});

test('a wrong plan and a missing model are the same errors as in this thread', async () => {
  const model = await openRemoteModel(worker, folder);
  const wrong = await model.sampleImages({ ...plan, labels: [7, 0, 0] }).catch((error: unknown) => error);
  expect(InvalidArgumentError.isInstance(wrong) && wrong.message).toMatch(/labels must be from 0 to 1, got 7/);
  await expect(openRemoteModel(worker, 'nowhere')).rejects.toThrow(/nowhere: no such folder/);
  await expect(model.sampleImages(plan)).rejects.toThrow(/expected openModel/); // It was replaced by none.
});
