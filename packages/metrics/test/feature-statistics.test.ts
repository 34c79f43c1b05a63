import { describe, expect, test } from 'vitest';
import { FeatureStatistics, type Features } from '../src/index.js';
import { randomFeatures, rowsOf } from './random-features.js';

const DIM = 7;
const all = randomFeatures(1, 700, DIM, 2, 3);

/** Mean and covariance by their definition, in two passes. */
function byDefinition({ data, count, dim }: Features) {
  const mean = Array.from({ length: dim }, (_, i) => {
    let sum = 0;
    for (let n = 0; n < count; n++) sum += data[n * dim + i]!;
    return sum / count;
  });
  const covariance = Array.from({ length: dim * dim }, (_, ij) => {
    const [i, j] = [Math.floor(ij / dim), ij % dim];
    let sum = 0;
    for (let n = 0; n < count; n++) sum += (data[n * dim + i]! - mean[i]!) * (data[n * dim + j]! - mean[j]!);
    return sum / (count - 1);
  });
  return { mean, covariance };
}

const near = (got: Float64Array, expected: ArrayLike<number>, tolerance: number) => {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < got.length; i++) expect(Math.abs(got[i]! - expected[i]!)).toBeLessThan(tolerance);
};

describe('FeatureStatistics', () => {
  const expected = byDefinition(all);

  // the order of the sums alone differs: some eps times 700 terms of about 10
  test.each([[700], [1, 699], [3, 256, 257, 184], [0, 700], Array(700).fill(1)])(
    'any cut into batches gives the definition',
    (...sizes) => {
      const statistics = new FeatureStatistics(DIM);
      let from = 0;
      for (const size of sizes) {
        statistics.add(rowsOf(all, from, from + size));
        from += size;
      }
      expect(statistics.count).toBe(700);
      near(statistics.mean, expected.mean, 1e-12);
      near(statistics.covariance, expected.covariance, 1e-11);
    },
  );

  test('merging parts gives the whole, and leaves the other part', () => {
    const first = new FeatureStatistics(DIM).add(rowsOf(all, 0, 300));
    const second = new FeatureStatistics(DIM).add(rowsOf(all, 300, 700));
    const before = second.state();
    near(first.merge(second).mean, expected.mean, 1e-12);
    near(first.covariance, expected.covariance, 1e-11);
    expect(second.state()).toEqual(before);
    expect(new FeatureStatistics(DIM).merge(first).covariance).toEqual(first.covariance);
    expect(first.merge(new FeatureStatistics(DIM)).count).toBe(700);
  });

  test('a large mean costs no digits: sums of squares would lose them all', () => {
    const shifted = { ...all, data: all.data.map((value) => value + 1e9) };
    // 1e9 leaves features with 2^-23; that rounding is all that may be left in the covariance
    near(new FeatureStatistics(DIM).add(shifted).covariance, expected.covariance, 1e-6);
  });

  test('goes on from a stored state, bit for bit', () => {
    const whole = new FeatureStatistics(DIM).add(rowsOf(all, 0, 300)).add(rowsOf(all, 300, 700));
    const { count, mean, scatter } = new FeatureStatistics(DIM).add(rowsOf(all, 0, 300)).state();
    const json = JSON.parse(JSON.stringify({ count, mean: [...mean], scatter: [...scatter] }));
    const resumed = FeatureStatistics.fromState({
      count: json.count,
      mean: Float64Array.from(json.mean as number[]),
      scatter: Float64Array.from(json.scatter as number[]),
    });
    expect(resumed.add(rowsOf(all, 300, 700)).state()).toEqual(whole.state());
  });

  test('takes float32 features', () => {
    const narrow = { ...all, data: Float32Array.from(all.data) };
    const rounded = byDefinition({ ...all, data: Float64Array.from(narrow.data) });
    near(new FeatureStatistics(DIM).add(narrow).covariance, rounded.covariance, 1e-11);
  });

  test('refuses what it cannot add and stays as it was', () => {
    const statistics = new FeatureStatistics(DIM).add(rowsOf(all, 0, 10));
    const before = statistics.state();
    const bad = rowsOf(all, 0, 3);
    bad.data[DIM + 2] = Number.NaN;
    expect(() => statistics.add(bad)).toThrow('features: expected finite numbers, got NaN in row 1, column 2');
    expect(() => statistics.add({ data: new Float32Array(8), count: 1, dim: 8 })).toThrow(
      'expected features of dim 7, got 8',
    );
    expect(() => statistics.add({ data: new Float32Array(8), count: 2, dim: 7 })).toThrow('2 x 7 = 14 numbers, got 8');
    expect(() => statistics.merge(new FeatureStatistics(3))).toThrow('expected dim 7, got 3');
    expect(statistics.state()).toEqual(before);
  });

  test('says when there are too few rows', () => {
    const statistics = new FeatureStatistics(2);
    expect(() => statistics.mean).toThrow('at least 1 rows to be added before, got 0');
    statistics.add({ data: Float64Array.of(1, 2), count: 1, dim: 2 });
    expect([...statistics.mean]).toEqual([1, 2]);
    expect(() => statistics.covariance).toThrow('at least 2 rows to be added before, got 1');
    expect(() => new FeatureStatistics(0)).toThrow('dim to be an integer in [1, 16384], got 0');
    const state = { count: -1, mean: new Float64Array(2), scatter: new Float64Array(3) };
    expect(() => FeatureStatistics.fromState(state)).toThrow(
      /scatter: expected 2 x 2 = 4 numbers, got 3\n.*count.*got -1/,
    );
  });
});
