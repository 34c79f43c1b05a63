import { describe, expect, test } from 'vitest';
import {
  FeatureStatistics,
  type Features,
  frechetDistance,
  inceptionScore,
  kernelDistance,
  kernelDistanceOfSubsets,
  prdc,
} from '../src/index.js';
import { neighbourDistances } from '../src/prdc.js';
import { randomFeatures, rowsOf } from './random-features.js';

const rows = (...values: readonly (readonly number[])[]): Features => ({
  data: Float64Array.from(values.flat()),
  count: values.length,
  dim: values[0]!.length,
});

describe('frechetDistance', () => {
  const gaussian = (mean: readonly number[], covariance: readonly number[]) => ({
    dim: mean.length,
    mean: Float64Array.from(mean),
    covariance: Float64Array.from(covariance),
  });

  test("one dimension: (m - m')^2 + (s - s')^2", () => {
    expect(frechetDistance(gaussian([1], [9]), gaussian([3], [4]))).toBe(5);
    expect(frechetDistance(gaussian([1], [0]), gaussian([3], [4]))).toBe(8);
    expect(frechetDistance(gaussian([1], [0]), gaussian([3], [0]))).toBe(4);
  });

  test('distributions on disjoint axes: no root at all', () => {
    expect(frechetDistance(gaussian([0, 0], [4, 0, 0, 0]), gaussian([0, 0], [0, 0, 0, 9]))).toBe(13);
  });

  test('does not change under a rotation of both', () => {
    const [c, s] = [Math.cos(0.7), Math.sin(0.7)];
    const turn = ({ data, count }: Features): Features => ({
      data: data.map((_, i) => (i % 2 === 0 ? c * data[i]! - s * data[i + 1]! : s * data[i - 1]! + c * data[i]!)),
      count,
      dim: 2,
    });
    const [a, b] = [randomFeatures(1, 50, 2), randomFeatures(2, 60, 2, 3, 1)];
    const distance = (p: Features, q: Features) =>
      frechetDistance(new FeatureStatistics(2).add(p), new FeatureStatistics(2).add(q));
    expect(Math.abs(distance(turn(a), turn(b)) - distance(a, b))).toBeLessThan(1e-12);
  });

  test('features that are always zero (a dead unit) change nothing', () => {
    const pad = ({ data, count, dim }: Features): Features => ({
      data: Float64Array.from({ length: count * (dim + 3) }, (_, i) => {
        const column = i % (dim + 3);
        return column < dim ? data[Math.floor(i / (dim + 3)) * dim + column]! : 0;
      }),
      count,
      dim: dim + 3,
    });
    const [a, b] = [randomFeatures(1, 50, 5), randomFeatures(2, 60, 5, 2)];
    const distance = (p: Features, q: Features) =>
      frechetDistance(new FeatureStatistics(p.dim).add(p), new FeatureStatistics(q.dim).add(q));
    expect(Math.abs(distance(pad(a), pad(b)) - distance(a, b))).toBeLessThan(1e-12);
  });

  test('names what is wrong with either side', () => {
    const good = gaussian([0, 0], [1, 0, 0, 1]);
    expect(() => frechetDistance(gaussian([0], [1]), good)).toThrow('Gaussians of one dim, got 1 and 2');
    expect(() => frechetDistance(gaussian([0, Number.NaN], [1, 0, 0, 1]), gaussian([0, 0], [1, 0, 0]))).toThrow(
      /a\.mean: .*got NaN in row 0, column 1\n.*b\.covariance: expected 2 x 2 = 4 numbers, got 3/,
    );
    expect(() => frechetDistance(good, gaussian([0, 0], [1, 0.5, 0, 1]))).toThrow(
      'b.covariance: expected a symmetric matrix, got 0 at [1, 0] and 0.5 at [0, 1]',
    );
    expect(() => frechetDistance(good, gaussian([0, 0], [1, 0, 0, -1]))).toThrow(
      'variances of at least 0, got -1 at 1',
    );
  });
});

describe('kernelDistance', () => {
  /** Estimates from many pairs of samples: their mean, their true spread, and the standard error that they claim. */
  function repeated(repetitions: number, scale: number, shift: number) {
    const estimates = Array.from({ length: repetitions }, (_, i) =>
      kernelDistance(randomFeatures(2 * i, 80, 6), randomFeatures(2 * i + 1, 60, 6, scale, shift)),
    );
    const mean = estimates.reduce((sum, { value }) => sum + value, 0) / repetitions;
    const spread = Math.sqrt(estimates.reduce((sum, { value }) => sum + (value - mean) ** 2, 0) / (repetitions - 1));
    const claimed = Math.sqrt(estimates.reduce((sum, { standardError }) => sum + standardError ** 2, 0) / repetitions);
    return { mean, spread, claimed };
  }

  // A spread from 150 values is known to 6 %; the bounds are three times that.
  test('the standard error is the spread over other samples', () => {
    const { spread, claimed } = repeated(150, 1, 1.5);
    expect(Math.abs(claimed / spread - 1)).toBeLessThan(0.18);
  });

  test('is unbiased where the sets are alike; the jackknife then claims up to root 2 too much, as theory says', () => {
    const { mean, spread, claimed } = repeated(150, 1, 0);
    expect(Math.abs(mean)).toBeLessThan((4 * spread) / Math.sqrt(150));
    expect(Math.abs(claimed / spread / Math.SQRT2 - 1)).toBeLessThan(0.18);
  });

  test('crosses the borders of its blocks', () => {
    const [a, b] = [randomFeatures(1, 300, 3), randomFeatures(2, 513, 3, 1.1)];
    const k = (x: number, y: number, p: Features, q: Features) => {
      let product = 0;
      for (let c = 0; c < 3; c++) product += p.data[x * 3 + c]! * q.data[y * 3 + c]!;
      return (product / 3 + 1) ** 3;
    };
    const mean = (p: Features, q: Features) => {
      let [sum, count] = [0, 0];
      for (let i = 0; i < p.count; i++) {
        for (let j = 0; j < q.count; j++) {
          if (p === q && i === j) continue;
          sum += k(i, j, p, q);
          count += 1;
        }
      }
      return sum / count;
    };
    expect(Math.abs(kernelDistance(a, b).value - (mean(a, a) + mean(b, b) - 2 * mean(a, b)))).toBeLessThan(1e-11);
  });

  test('names what is wrong', () => {
    const good = randomFeatures(1, 4, 3);
    expect(() => kernelDistance(rowsOf(good, 0, 2), randomFeatures(2, 5, 4))).toThrow(
      /a: expected at least 3 rows, got 2\n.*features of one network, got dims 3 and 4/,
    );
    expect(() => kernelDistanceOfSubsets(good, good)).toThrow(
      "subsetSize to be an integer from 2 to the smaller set's 4, got 1000",
    );
    expect(() => kernelDistanceOfSubsets(good, good, { subsets: 0, subsetSize: 1 })).toThrow(
      /subsets.*got 0\n.*subsetSize.*got 1/,
    );
  });
});

describe('prdc', () => {
  test('a set against itself: all inside', () => {
    const set = randomFeatures(1, 200, 5);
    expect(prdc(set, set)).toMatchObject({ precision: 1, recall: 1, coverage: 1 });
  });

  test('a set far away: all outside', () => {
    expect(prdc(randomFeatures(1, 200, 5), randomFeatures(2, 200, 5, 1, 100))).toEqual({
      precision: 0,
      recall: 0,
      density: 0,
      coverage: 0,
    });
  });

  test('a collapsed generator is precise without recall', () => {
    const real = randomFeatures(1, 300, 4);
    const collapsed = { ...real, data: real.data.map((_, i) => real.data[i % 4]!) };
    const { precision, recall, coverage } = prdc(real, collapsed);
    expect(precision).toBe(1);
    expect(recall).toBe(1 / 300); // the balls have radius 0: only the sample itself
    expect(coverage).toBeLessThan(0.1);
  });

  test('by hand on a line, k = 1', () => {
    const real = rows([0], [1], [10]); // radii 1, 1, 9
    const generated = rows([1.5], [-3], [30]); // radii 4.5, 4.5, 28.5
    // 1.5 is in the balls of 1 and 10; -3 and 30 in none
    expect(prdc(real, generated, { k: 1 })).toEqual({
      precision: 1 / 3,
      recall: 1,
      density: 2 / 3,
      coverage: 2 / 3,
    });
  });

  test('nearest neighbours across the borders of its blocks, by sorting', () => {
    const set = randomFeatures(4, 300, 3);
    const radii = neighbourDistances(set, 4);
    for (let i = 0; i < 300; i += 7) {
      const all = Array.from({ length: 300 }, (_, j) =>
        [0, 1, 2].reduce((sum, c) => sum + (set.data[i * 3 + c]! - set.data[j * 3 + c]!) ** 2, 0),
      ).sort((a, b) => a - b);
      expect(radii[i]).toBe(all[4]); // all[0] is the row itself
    }
  });

  test('names what is wrong', () => {
    const set = randomFeatures(1, 3, 2);
    expect(() => prdc(set, set)).toThrow(
      /real: expected at least 4 rows, got 3\n.*generated: expected at least 4 rows, got 3/,
    );
    expect(() => prdc(set, set, { k: 0.5 })).toThrow('k to be a positive integer, got 0.5');
    const bad = { ...set, data: set.data.map((v, i) => (i === 5 ? Number.POSITIVE_INFINITY : v)) };
    expect(() => prdc(set, bad, { k: 1 })).toThrow(
      'generated: expected finite numbers, got Infinity in row 2, column 1',
    );
  });
});

describe('inceptionScore', () => {
  test('is the number of classes for sure and even answers, and 1 for answers that are all the same', () => {
    const sure = {
      data: Float32Array.from({ length: 400 }, (_, i) => (Math.floor(i / 4) % 4 === i % 4 ? 1e4 : 0)),
      count: 100,
      dim: 4,
    };
    expect(inceptionScore(sure, { splits: 1 }).mean).toBeCloseTo(4, 12);
    const same = { data: Float32Array.from({ length: 400 }, (_, i) => i % 4), count: 100, dim: 4 };
    const { mean, standardDeviation } = inceptionScore(same);
    expect(mean).toBeCloseTo(1, 12);
    expect(standardDeviation).toBeLessThan(1e-12);
  });

  test('names what is wrong', () => {
    expect(() => inceptionScore(randomFeatures(1, 9, 3))).toThrow('logits: expected at least 10 rows, got 9');
    expect(() => inceptionScore(randomFeatures(1, 9, 3), { splits: 0 })).toThrow(
      'splits to be a positive integer, got 0',
    );
  });
});
