import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeNpz } from '@mezzotint/weights';
import { readNpz, writeFileAtomically } from '@mezzotint/weights/node';
import { afterAll, expect, test } from 'vitest';
import {
  type CollectorPlan,
  collect,
  computeEvaluation,
  computeMetrics,
  type EvaluationPlan,
  metricNamed,
  readCheckpoint,
  readStatistics,
  type Source,
  shardOf,
  writeStatistics,
} from '../src/node/index.js';
import { randomFeatures, rowsOf } from './random-features.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-metrics-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const plan: CollectorPlan = {
  ...{ dim: 6, classes: 3, total: 50, recipe: 'test', splits: 4, rows: 30 },
  needs: ['gaussian', 'rows', 'inceptionScore', 'diversity'],
};
const [features, logits] = [randomFeatures(1, 50, 6), randomFeatures(2, 50, 3)];

/** 50 pictures; fails when the one with the index `broken` is asked for. */
function source(broken = Number.POSITIVE_INFINITY, identity = 'a'): Source {
  return {
    ...{ name: 'fifty', count: 50, identity },
    async judge(first, count) {
      if (first + count > broken) throw new Error('the disk is gone');
      return { features: rowsOf(features, first, first + count), logits: rowsOf(logits, first, first + count) };
    },
  };
}

const options = { batch: 8 };
const wanted = ['is', 'lpips-diversity'].map(metricNamed);
const whole = await collect(source(), plan, options);
const numbers = (collector: typeof whole) => [collector.state(), computeMetrics(wanted, collector, undefined)];

test('a run that failed in the middle goes on to the same numbers bit for bit', async () => {
  const path = join(root, 'run.npz');
  await expect(collect(source(33), plan, { ...options, checkpoint: { path, resume: false } })).rejects.toThrow(/gone/);
  expect((await readCheckpoint(path)).collector.count).toBe(32);
  const judged: number[] = [];
  const again = await collect(source(), plan, {
    ...{ ...options, checkpoint: { path, resume: true } },
    onProgress: (done) => judged.push(done),
  });
  expect(judged[0]).toBe(32); // nothing is judged twice
  expect(numbers(again)).toEqual(numbers(whole));
});

test('a checkpoint of other pictures, another batch or another plan is not gone on with', async () => {
  const path = join(root, 'run.npz');
  const checkpoint = { path, resume: true };
  const other = /other pictures or settings: resume with those/;
  await expect(collect(source(undefined, 'b'), plan, { ...options, checkpoint })).rejects.toThrow(other);
  await expect(collect(source(), plan, { batch: 7, checkpoint })).rejects.toThrow(other);
  await expect(collect(source(), { ...plan, rows: 20 }, { ...options, checkpoint })).rejects.toThrow(other);
});

test('shards cover a set once and merge to the whole', async () => {
  const parts = [0, 1, 2].map((i) => shardOf(50, [i, 3], 4));
  expect(parts).toEqual([
    [0, 16],
    [16, 32],
    [32, 50],
  ]);
  const [a, b, c] = await Promise.all([0, 1, 2].map((i) => collect(source(), plan, { ...options, shard: [i, 3] })));
  const merged = c!.merge(a!).merge(b!);
  expect(merged.rows).toEqual(whole.rows);
  for (const [i, { value }] of computeMetrics(wanted, merged, undefined).entries()) {
    expect(value).toBeCloseTo(computeMetrics(wanted, whole, undefined)[i]!.value, 10); // the same sums in another order
  }
});

test('a signal stops between two batches and what was done is kept', async () => {
  const path = join(root, 'stopped.npz');
  const controller = new AbortController();
  const stopped = collect(source(), plan, {
    ...{ ...options, checkpoint: { path, resume: false }, signal: controller.signal },
    onProgress: (done) => done >= 16 && controller.abort(),
  });
  await expect(stopped).rejects.toThrow(/abort/i);
  expect((await readCheckpoint(path)).collector.count).toBe(16);
});

test('statistics files hold mu and sigma for other tools, and everything for ours', async () => {
  const path = join(root, 'statistics.npz');
  await writeStatistics(path, whole, { name: 'fifty' });
  const file = await readNpz(path);
  const [mu, sigma] = [await file.readFloat64('mu'), await file.readFloat64('sigma')];
  file.close();
  expect([mu.shape, sigma.shape]).toEqual([[6], [6, 6]]);
  expect(mu.data).toEqual(whole.gaussian!.mean);
  expect(sigma.data).toEqual(whole.gaussian!.covariance);
  const { collected, notes } = await readStatistics(path);
  expect(notes).toEqual({ name: 'fifty' });
  expect(collected.rows).toEqual(whole.rows);
  const published = join(root, 'published.npz');
  const bytes = encodeNpz({ mu: { shape: [6], data: mu.data }, sigma: { shape: [6, 6], data: sigma.data } });
  await writeFileAtomically(published, (append) => append(bytes));
  const reference = (await readStatistics(published)).collected;
  const [fid] = computeMetrics([metricNamed('fid')], whole, reference);
  expect(fid!.value).toBeLessThan(1e-10); // against itself
  expect(reference.count).toBeNull();
});

test('a damaged or foreign file is refused', async () => {
  const foreign = join(root, 'foreign.npz');
  await writeFileAtomically(foreign, (append) =>
    append(encodeNpz({ arr_0: { shape: [1], data: new Float32Array(1) } })),
  );
  await expect(readStatistics(foreign)).rejects.toThrow(/expected the arrays mu and sigma .* got arr_0/);
  await expect(readCheckpoint(foreign)).rejects.toThrow(/holds no statistics of evaluate/);
  const cut = join(root, 'cut.npz');
  const whole = readFileSync(join(root, 'statistics.npz'));
  await writeFileAtomically(cut, (append) => append(whole.subarray(0, whole.length / 2)));
  await expect(readStatistics(cut)).rejects.toThrow(/cut\.npz/);
  expect(existsSync(cut)).toBe(true);
});

test('an evaluation: every generated set against every real one, said in words', async () => {
  const evaluation: EvaluationPlan = {
    ...{ metrics: ['fid', 'is', 'prdc'], options: { k: 3 }, features: 'classifier' },
    generated: [{ key: 'g', name: 'pictures' }],
    real: [
      { key: 'r', name: 'held out', note: 'never seen' },
      { key: 't', name: 'training' },
    ],
    floor: { key: 'o', name: 'others' },
  };
  const side = (seed: number) =>
    collect(
      {
        ...source(),
        judge: async (first, count) => ({
          features: rowsOf(randomFeatures(seed, 50, 6), first, first + count),
          logits: rowsOf(logits, first, first + count),
        }),
      },
      plan,
      options,
    );
  const collected = new Map(
    await Promise.all((['g', 'r', 't', 'o'] as const).map(async (key, i) => [key, await side(10 + i)] as const)),
  );
  const said: string[] = [];
  const { rows, realAgainstReal } = computeEvaluation(evaluation, collected, (line) => said.push(line));
  expect(rows.map(({ against, metrics }) => [against, Object.keys(metrics)])).toEqual([
    ['held out', ['fid', 'is', 'prdc']],
    ['training', ['fid', 'prdc']],
  ]);
  expect(realAgainstReal!.fid).toBeGreaterThan(0);
  const text = said.join('\n');
  expect(text).toMatch(/Features: test\n50 real pictures against 50 other real ones: fid \[classifier\] \d/);
  expect(text).toMatch(
    /pictures, 50 pictures against held out, 50 pictures \(never seen\):\n {2}fid \[classifier\] +\d.* times real against real/,
  );
  expect(text).toMatch(/prdc \[classifier\] +precision \d\.\d+, recall/);
  expect(text).toMatch(/note: of a random 30 of 50 generated pictures/);
});

test('settings of statistics that are null, or an object where a text is expected, are refused', async () => {
  for (const settings of ['null', '[]', '{"format": {"toString": 1}}']) {
    const path = join(root, `settings-${settings.length}.npz`);
    const data = Float64Array.from(Buffer.from(settings));
    await writeFileAtomically(path, encodeNpz({ mezzotint: { shape: [data.length], data } } as never), {
      overwrite: true,
    });
    await expect(readStatistics(path)).rejects.toThrow(/is of another format/);
  }
});
