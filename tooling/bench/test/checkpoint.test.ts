import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useBackend } from '@mezzotint/backend';
import { Linear } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';

import { type CheckpointNetwork, checkpoints, costOf } from '../src/checkpoint/networks.js';
import { writeCheckpoint } from '../src/checkpoint/random-checkpoint.js';
import { type CheckpointResult, updated } from '../src/checkpoint/report.js';
import { relativeError } from '../src/statistics.js';

test('the networks have the published sizes', () => {
  // Parameters of diffusers' classes; multiply-adds published for one image: guidance is two.
  expect(costOf(checkpoints.sd15).parameters).toBe(859_520_964);
  expect(costOf(checkpoints.sd15).macs / 2 / 1e9).toBeCloseTo(401.64, 0);
  expect(costOf(checkpoints.vae).parameters).toBe(83_653_863);
  expect(costOf(checkpoints['sdxl-unet']).parameters).toBe(2_567_463_684);
  expect(costOf(checkpoints['sdxl-unet']).macs / 1e9).toBeCloseTo(3380.6, -1);
  // The table of positions, a buffer, is not counted.
  expect(costOf(checkpoints['sd35-medium']).parameters).toBe(2_243_171_520);
});

test('a checkpoint has the same bytes each time, and one that is there is not written again', async () => {
  await useBackend({ engine: 'cpu' });
  const small: CheckpointNetwork = {
    ...{ about: 'a matrix', step: 'a product', config: { _class_name: 'Linear' }, inputs: { latent: [1, 3] } },
    build: () => {
      const model = new Linear(3, 2);
      return { model, step: ({ latent }) => model.forward(latent as tf.Tensor2D) };
    },
  };
  const parents = [1, 2].map(() => mkdtempSync(join(tmpdir(), 'mezzotint-checkpoint-')));
  const { signal } = new AbortController();
  try {
    const before = tf.memory().numTensors;
    const write = (parent: string) => writeCheckpoint('small', small, 'float16', parent, signal);
    const [one, two] = [await write(parents[0]!), await write(parents[1]!)];
    expect(readFileSync(one.weights)).toEqual(readFileSync(two.weights));
    expect(readFileSync(one.inputs)).toEqual(readFileSync(two.inputs));
    expect(await write(parents[0]!)).toEqual({ ...one, written: false });
    expect(tf.memory().numTensors).toBe(before);
  } finally {
    for (const parent of parents) rmSync(parent, { recursive: true });
  }
});

test('the error is relative and says when answers have different sizes', () => {
  expect(relativeError(Float32Array.of(3, 5), Float32Array.of(3, 4))).toBeCloseTo(1 / 5, 6);
  expect(() => relativeError(new Float32Array(1), new Float32Array(2))).toThrow(/1 and 2/);
});

test('a run replaces its own section of the document and leaves the others', () => {
  const result = (network: string, seconds: number): CheckpointResult => ({
    ...{ network, about: 'a network', step: 'a pass', fileType: 'float32', fileBytes: 4e9, cold: false },
    ...{
      parameters: 1e9,
      macs: 1e12,
      runs: 2,
      date: '2026-01-02',
      machine: 'a machine',
      threads: 2,
      interleaved: true,
    },
    command: `pnpm bench:checkpoint --network ${network}`,
    absent: [{ contestant: 'pytorch float32', reason: 'no Python' }],
    rows: [
      {
        ...{
          contestant: 'onnxruntime float32',
          version: '1.0',
          loadSeconds: 3,
          firstSeconds: 12,
          ratio: 1,
          error: null,
        },
        steps: { median: 1000 * seconds, min: 1000 * seconds, max: 1000 * seconds, runs: 2 },
        ...{ loadedMegabytes: 4000, peakMegabytes: 5000 },
      },
    ],
  });
  const first = updated(undefined, [result('a', 10), result('b', 20)]);
  const second = updated(first, [result('a', 30)]);
  expect(second).toContain(
    '| onnxruntime float32, 1.0 | 3.0 | 12.0 | 30.00 | 30.00-30.00 | 1.00 | 67 | 4000 | 5000 |  |',
  );
  expect(second).toContain('| 20.00 |');
  expect(second).not.toContain('| 10.00 |');
  expect(second.match(/^# /gm)).toHaveLength(1);
  expect(second).toContain('pytorch float32 is not here: no Python');
  expect(updated(second, [])).toBe(second);
});
