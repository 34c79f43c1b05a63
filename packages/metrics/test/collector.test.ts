import { NumpyRandomState } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import {
  Collector,
  type CollectorPlan,
  computeMetrics,
  FeatureStatistics,
  type Features,
  frechetDistanceAtInfinity,
  inceptionScore,
  metricNamed,
  metrics,
  RowSample,
  referenceStatistics,
} from '../src/index.js';
import { randomFeatures } from './random-features.js';

const part = ({ data, dim }: Features, from: number, to: number): Features => ({
  data: data.subarray(from * dim, to * dim) as Float32Array,
  count: to - from,
  dim,
});
const every = ({ data, count, dim }: Features, first: number, step: number): Features => {
  const rows = Array.from({ length: Math.ceil((count - first) / step) }, (_, i) => first + i * step);
  return {
    data: Float32Array.from(rows.flatMap((r) => [...data.subarray(r * dim, (r + 1) * dim)])),
    count: rows.length,
    dim,
  };
};
const single = (count: number, dim: number, seed: number): Features => {
  const { data } = randomFeatures(seed, count, dim);
  return { data: Float32Array.from(data), count, dim };
};

const features = single(60, 4, 1);
const logits = single(60, 3, 2);
const texts = single(60, 4, 3);
const labels = Array.from({ length: 60 }, (_, i) => i % 3);
const plan: CollectorPlan = {
  ...{ dim: 4, classes: 3, total: 60, recipe: 'test', splits: 5, rows: 40 },
  needs: ['gaussian', 'rows', 'textRows', 'inceptionScore', 'diversity', 'similarity', 'labels'],
};

/** A collector that saw the rows first, first + step, ... below `to` in batches. */
function collect(first: number, step: number, batch = 7, from = new Collector(plan), start = 0, to = 60): Collector {
  for (let at = start + first; at < to; at += batch * step) {
    const end = Math.min(to, at + batch * step);
    const slice = (f: Features) => every(part(f, at, end), 0, step);
    from.add({
      ...{ first: at, step, features: slice(features), logits: slice(logits), texts: slice(texts) },
      labels: labels.slice(at, end).filter((_, i) => i % step === 0),
    });
  }
  return from;
}

describe('a collector', () => {
  const whole = collect(0, 1);
  const names = ['fid', 'kid', 'is', 'prdc', 'clip-score', 'lpips-diversity', 'memorization', 'label-accuracy'];
  const wanted = names.map(metricNamed);
  const options = { subsets: 5, subsetSize: 20 };
  const real = new Collector({ ...plan, needs: ['gaussian', 'rows'] }).add({ first: 0, features: single(60, 4, 9) });
  const score = (collector: Collector) => computeMetrics(wanted, collector, real, options);

  test('two shards, merged, come to what one run comes to', () => {
    const merged = collect(0, 2).merge(collect(1, 2));
    const [a, b] = [score(whole), score(merged)];
    for (const [i, result] of a.entries()) {
      expect(b[i]!.name).toBe(result.name);
      // The same float64 sums in another order.
      expect(Math.abs(b[i]!.value - result.value)).toBeLessThan(1e-10 * Math.max(1, Math.abs(result.value)));
    }
    expect(merged.rows).toEqual(whole.rows);
  });

  test('stored in the middle and gone on with, it is the same bit for bit', () => {
    const half = collect(0, 1, 7, new Collector(plan), 0, 28);
    const { json, arrays } = half.state();
    const again = Collector.fromState({ json: JSON.parse(JSON.stringify(json)), arrays });
    expect(score(collect(0, 1, 7, again, 28))).toEqual(score(whole));
  });

  test('its scores are those of all rows at once', () => {
    expect(whole.inceptionScore!.mean).toBeCloseTo(inceptionScore(logits, { splits: 5 }).mean, 12);
    const all = new FeatureStatistics(4).add(features);
    const mean = whole.gaussian!.mean;
    for (const [i, value] of all.mean.entries()) expect(mean[i]).toBeCloseTo(value, 12);
    const read = labels.filter((label, i) => {
      const row = [...logits.data.subarray(3 * i, 3 * i + 3)];
      return row.indexOf(Math.max(...row)) === label;
    });
    expect(whole.labelAccuracy).toBe(read.length / 60);
  });

  test('says what a value was computed from: few pictures, samples, recipes', () => {
    const [kid] = computeMetrics([metricNamed('kid')], whole, real, { subsets: 2, subsetSize: 1000 });
    expect(kid!.notes).toEqual([
      'subsets of 40, the smaller set, instead of 1000',
      'of a random 40 of 60 generated pictures',
      'of a random 40 of 60 real pictures',
    ]);
    const few = new Collector({ ...plan, needs: ['gaussian'] }).add({ first: 0, features: part(features, 0, 3) });
    const [fid] = computeMetrics([metricNamed('fid')], few, real);
    expect(fid!.notes).toEqual([expect.stringMatching(/3 generated pictures for 4 features: too few/)]);
    expect(fid!.value).toBeGreaterThan(0);
    expect(fid).toMatchObject({ recipe: 'test', count: 3, against: 60 });
    const notesOf = (name: string, change: object) =>
      computeMetrics([metricNamed(name)], collect(0, 1, 60, new Collector({ ...plan, ...change })), real)[0]!.notes;
    expect(notesOf('is', { splits: 20 })).toEqual([]);
    expect(notesOf('is', { splits: 30 })).toEqual(['of 30 splits of at most 2 pictures: it cannot exceed 2']);
    const sampled = 'of a random 39 of 60 generated pictures';
    expect(notesOf('fid-infinity', { rows: 40 })).toEqual([sampled.replace('39', '40')]);
    expect(notesOf('fid-infinity', { rows: 39 })).toEqual([
      expect.stringMatching(/^parts of down to 7 pictures for 4/),
      sampled,
    ]);
  });

  test('retrieval: the share of pictures whose prompt is among the ten closest; equal prompts are all right', () => {
    const axes = (turn: (i: number) => number) => {
      const data = new Float64Array(24 * 24);
      for (let i = 0; i < 24; i++) data[24 * i + turn(i)] = 1;
      return { data, count: 24, dim: 24 };
    };
    const pair = (texts: Features) => {
      const pairs = { ...plan, dim: 24, classes: null, needs: ['rows', 'textRows'] as const };
      return new Collector(pairs).add({ first: 0, features: axes((i) => i), texts });
    };
    const at = (texts: Features) => computeMetrics([metricNamed('retrieval')], pair(texts), undefined)[0]!;
    expect(at(axes((i) => i))).toMatchObject({ value: 1, parts: { recallAt1: 1, medianRank: 1, prompts: 24 } });
    // Every prompt is some other picture's: a wrong one is as close as the right one for all others.
    expect(at(axes((i) => (i + 1) % 24)).value).toBe(0);
    // Two pictures with one prompt: the first is right for both.
    expect(at(axes((i) => i - (i % 2))).parts).toMatchObject({ recallAt1: 0.5, recallAt10: 0.5 });
  });

  test('retrieval: texts that are numbered are the same by number, also where their embeddings were rounded otherwise', () => {
    const close = single(12, 4, 5);
    // Text 11 is text 0, embedded in another batch. Picture i is text i, but for 0 and 11, which are the other's.
    const data = Float32Array.from(close.data);
    for (let k = 0; k < 4; k++) data[11 * 4 + k] = data[k]! + (k === 0 ? 1e-4 : 0);
    const swapped = Float32Array.from([...data.subarray(44), ...data.subarray(4, 44), ...data.subarray(0, 4)]);
    const pairs = { ...plan, classes: null, total: 12, needs: ['rows', 'textRows'] as const };
    const ids = Array.from({ length: 12 }, (_, i) => i % 11);
    const batch = (from: number, to: number, numbered: boolean) => ({
      ...{ first: from, features: part({ ...close, data: swapped }, from, to) },
      texts: part({ ...close, data }, from, to),
      ...(numbered && { textIds: ids.slice(from, to) }),
    });
    const recallOf = (collector: Collector) =>
      computeMetrics([metricNamed('retrieval')], collector, undefined)[0]!.parts!.recallAt1;
    const shards = [
      new Collector(pairs).add(batch(0, 11, true)),
      new Collector(pairs).add(batch(11, 12, true)),
    ] as const;
    expect(recallOf(Collector.fromState(shards[0].state()).merge(shards[1]))).toBe(1);
    // A batch without numbers: what is left are the embeddings.
    const unknown = new Collector(pairs).add(batch(0, 11, true)).add(batch(11, 12, false));
    expect([unknown.textIds, recallOf(unknown)]).toEqual([undefined, 10 / 12]);
    expect(() => new Collector(pairs).add({ ...batch(0, 2, true), textIds: [1] })).toThrow(/textIds: expected 2 x 1/);
    expect(() => new Collector(pairs).add({ ...batch(0, 1, true), textIds: [2 ** 24 + 1] })).toThrow(/up to 2\^24/);
  });

  test('retrieval of few prompts says which ranks say nothing', () => {
    const notesOf = (count: number) => {
      const pairs = { ...plan, classes: null, total: count, needs: ['rows', 'textRows'] as const };
      const rows = single(count, 4, 6);
      const collector = new Collector(pairs).add({ first: 0, features: rows, texts: rows });
      return computeMetrics([metricNamed('retrieval')], collector, undefined)[0]!.notes;
    };
    expect(notesOf(11)).toEqual([]);
    expect(notesOf(10)).toEqual(['with 10 prompts recallAt10 would be 1 for any pictures']);
    expect(notesOf(5)).toEqual(['with 5 prompts recallAt5, recallAt10 would be 1 for any pictures']);
  });

  test('lists all that is missing', () => {
    const statistics = referenceStatistics(
      { shape: [4], data: new Float64Array(4) },
      { shape: [4, 4], data: Float64Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0)) },
    );
    const plain = new Collector({ ...plan, needs: ['gaussian'] }).add({ first: 0, features });
    const all = ['fid', 'kid', 'is'].map(metricNamed);
    expect(() => computeMetrics(all, plain, statistics)).toThrow(
      /kid: needs the rows .*generated.*\n.*kid: needs the rows .*mu and sigma has none.*real.*\n.*is: needs logits/,
    );
    expect(computeMetrics([metricNamed('fid')], plain, statistics)[0]!.against).toBeNull();
    expect(() => computeMetrics([metricNamed('kid')], whole, undefined)).toThrow(/needs pictures to compare with/);
    const other = new Collector({ ...plan, recipe: 'other' });
    expect(() => computeMetrics([metricNamed('fid')], plain, other)).toThrow(/one recipe, got 'test' and 'other'/);
    expect(() => new Collector({ ...plan, classes: null })).toThrow(/logits, such as inception/);
    expect(() => whole.merge(other)).toThrow(/expected the plan/);
  });

  test('one picture on a side: every metric that cannot be computed says so, in one error', () => {
    const one = new Collector({ ...plan, total: 1 }).add({
      ...{
        first: 0,
        features: part(features, 0, 1),
        logits: part(logits, 0, 1),
        texts: part(texts, 0, 1),
        labels: [0],
      },
    });
    const compared = ['fid', 'kid-all', 'prdc', 'clip-directional', 'clip-image'].map(metricNamed);
    const score = () => computeMetrics(compared, one, whole);
    expect(score).toThrow(/fid of 1 pictures against 60: expected at least 2 rows/);
    for (const { name } of compared)
      expect(score, name).toThrow(new RegExp(`${name} of 1 pictures against 60: .*expected`));
    expect(computeMetrics([metricNamed('clip-score')], one, undefined)[0]!.count).toBe(1);
  });

  test('a batch that cannot be used adds nothing', () => {
    const collector = new Collector({ ...plan, needs: ['gaussian', 'inceptionScore'] });
    const bad = { ...features, data: features.data.map((v, i) => (i === 9 ? Number.NaN : v)) } as Features;
    expect(() => collector.add({ first: 0, features: bad })).toThrow(/NaN in row 2, column 1\n.*expected logits/);
    expect(() => collector.add({ first: 0, features })).toThrow(/expected logits, got none/);
    expect(collector.count).toBe(0);
  });
});

test('a sample of rows is uniform, whatever the order, and all of them while they fit', () => {
  const picked = new Float64Array(200);
  for (let seed = 0; seed < 400; seed++) {
    const sample = new RowSample(1, { limit: 20, seed });
    sample.add({ data: Float32Array.from({ length: 200 }, (_, i) => i), count: 200, dim: 1 });
    const { features: rows, seen } = sample;
    expect([rows.count, seen]).toEqual([20, 200]);
    for (const value of rows.data) picked[value]! += 1;
  }
  // Each index is picked with probability 1/10: 40 of 400 times, deviation 6; five deviations over 200 indices.
  expect(Math.min(...picked)).toBeGreaterThan(40 - 30);
  expect(Math.max(...picked)).toBeLessThan(40 + 30);
  const few = new RowSample(2, { limit: 5 }).add({ data: Float32Array.of(1, 2, 3, 4), count: 2, dim: 2 });
  expect([...few.features.data]).toEqual([1, 2, 3, 4]);
});

test.each([
  // N(0, I) against itself in 8 dimensions is 0, but 200 rows read about D (D + 3) / 4 / 200 = 0.11.
  [0, 0],
  // Against N(1/2, I) it is 8 / 4.
  [0.5, 2],
])('FID at infinity of N(%d, I): without the bias of few samples, and in its interval', (shift, truth) => {
  const dim = 8;
  const identity = Float64Array.from({ length: dim * dim }, (_, i) => (i % (dim + 1) === 0 ? 1 : 0));
  const real = { dim, mean: new Float64Array(dim), covariance: identity };
  let inside = 0;
  let sum = 0;
  const repeats = 100;
  for (let r = 0; r < repeats; r++) {
    const data = new NumpyRandomState(100 + r).randn(200 * dim).map((v) => v + shift);
    const { value, low, high } = frechetDistanceAtInfinity({ data, count: 200, dim }, real);
    if (low <= truth && truth <= high) inside += 1;
    sum += value;
  }
  // The values scatter by 0.04 and 0.23: three deviations of the mean of 100, and less than the bias it removes.
  expect(Math.abs(sum / repeats - truth)).toBeLessThan(shift === 0 ? 0.013 : 0.07);
  expect(inside / repeats).toBeGreaterThan(0.85); // 0.95 minus 4.6 deviations of a share of 100
});

test('every metric has a name of its own and says how it is read', () => {
  expect(new Set(metrics.map(({ name }) => name)).size).toBe(metrics.length);
  for (const { name, about, better, network } of metrics) {
    expect(about.length, name).toBeGreaterThan(20);
    expect(['lower', 'higher']).toContain(better);
    expect(network).toMatch(/^[a-z0-9-]+$/);
  }
  expect(() => metricNamed('fdi')).toThrow(/expected one of fid, fd-dinov2, .*got 'fdi'/);
});
