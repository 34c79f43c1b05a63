import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { switchTo } from '@mezzotint/backend/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type DigitsRun, tiny, trainDigits } from '../src/digits.js';

let folder: string;
beforeAll(async () => {
  await switchTo('cpu');
  folder = mkdtempSync(join(tmpdir(), 'study-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

// The same training with the smallest network: one level of four channels.
const { unet, recipe } = tiny('G');
const config = {
  recipe,
  unet: { ...unet, modelChannels: 4, channelMult: [1], attentionSizes: [], channelsPerHead: 4 },
};

const options = (name: string): DigitsRun => ({
  ...{ folder: join(folder, name), config, steps: 3, batch: 2, seed: 1, snapshotEvery: 1 },
});

test('an EDM2 training that is stopped and goes on ends with the same averages, bit for bit', async () => {
  const whole = await trainDigits(options('whole'), { signal: new AbortController().signal });
  const stop = new AbortController();
  const stopped = trainDigits({ ...options('parts'), onStep: () => stop.abort() }, { signal: stop.signal });
  await expect(stopped).rejects.toThrow();
  const steps: number[] = [];
  const onStep = (step: number) => void steps.push(step);
  const parts = await trainDigits({ ...options('parts'), onStep }, { signal: new AbortController().signal });
  expect(steps).toEqual([2, 3]);
  expect(parts).toEqual(whole);
  // Another training is not gone on with.
  await expect(trainDigits({ ...options('parts'), batch: 4 }, { signal: stop.signal })).rejects.toThrow(
    /other settings/,
  );
});
