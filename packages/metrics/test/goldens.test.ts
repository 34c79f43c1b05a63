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
import goldens from './fixtures/goldens-metrics.json' with { type: 'json' };
import numpy from './fixtures/numpy.json' with { type: 'json' };
import { randomFeatures } from './random-features.js';

/** The formula features of the goldens: i = 1..64 rows, j = 1..8 columns. */
function byFormula(formula: (i: number, j: number) => number): Features {
  const data = Float64Array.from({ length: 64 * 8 }, (_, n) => formula(Math.floor(n / 8) + 1, (n % 8) + 1));
  return { data, count: 64, dim: 8 };
}

const x = (i: number, j: number) => Math.sin(0.37 * i * j + 0.1 * i);
const X = byFormula(x);
const Y = byFormula((i, j) => 1.1 * Math.cos(0.23 * i * j + 0.05 * i) + 0.05);
const Y2 = byFormula((i, j) => 0.6 * x(i, j) + 0.9 * Math.sin(0.91 * i * j) + 0.4 * Math.cos(0.5 * j));
const frechet = (a: Features, b: Features) =>
  frechetDistance(new FeatureStatistics(a.dim).add(a), new FeatureStatistics(b.dim).add(b));

// float64 against float64, sums of some thousand terms: 1e-12 leaves room for the order of the sums
const close = (got: number, expected: number, tolerance = 1e-12) =>
  expect(Math.abs(got - expected)).toBeLessThan(tolerance * Math.max(1, Math.abs(expected)));

describe('the published definitions on formula-made features', () => {
  test('Fréchet distance', () => {
    close(frechet(X, Y), goldens.FID_XY);
    close(frechet(X, Y2), goldens.FID_XY2);
    expect(frechet(X, X)).toBeLessThan(1e-12);
    close(frechet(Y, X), frechet(X, Y)); // symmetric
  });

  test('Fréchet distance of N(0, I) and N(1, 4 I) is 16: 8 for the means, 8 (1 + 4 - 2 * 2) for the spreads', () => {
    const gaussian = (mean: number, variance: number) => ({
      dim: 8,
      mean: new Float64Array(8).fill(mean),
      covariance: Float64Array.from({ length: 64 }, (_, i) => (i % 9 === 0 ? variance : 0)),
    });
    expect(frechetDistance(gaussian(0, 1), gaussian(1, 4))).toBe(goldens.FID_diag);
  });

  test('kernel distance', () => {
    close(kernelDistance(X, Y).value, goldens.KID_XY);
    close(kernelDistance(X, Y2).value, goldens.KID_XY2);
  });

  test('one subset of all samples is the kernel distance', () => {
    const all = kernelDistanceOfSubsets(X, Y2, { subsets: 1, subsetSize: 64 });
    close(all.mean, goldens.KID_XY2);
    expect(all.standardDeviation).toBe(0);
  });

  test('inception score', () => {
    const logits = byFormula((i, j) => 3 * Math.sin(0.1 * i * j));
    close(inceptionScore(logits, { splits: 1 }).mean, goldens.IS);
  });

  test('precision, recall, density, coverage', () => {
    const { precision, recall, density, coverage } = prdc(X, Y2, { k: 3 });
    expect([precision, recall, density, coverage]).toEqual(goldens.PRDC_XY2_k3); // counts: exact
  });
});

describe('numpy on random features', () => {
  const a = randomFeatures(1, 150, 24);
  const b = randomFeatures(2, 130, 24, 1.3, 0.2);

  test('Fréchet distance, also with fewer rows than columns on one side or on both', () => {
    const wide = randomFeatures(4, 30, 48, 0.7, 0.5);
    close(frechet(a, b), numpy.frechet.ab);
    close(frechet(randomFeatures(3, 20, 48), wide), numpy.frechet.wide);
    close(frechet(randomFeatures(6, 400, 48), wide), numpy.frechet.mixed);
    close(frechet(wide, randomFeatures(6, 400, 48)), numpy.frechet.mixed);
    expect(frechet(wide, wide)).toBeLessThan(1e-12);
  });

  test('subsets are drawn as torch-fidelity draws them', () => {
    const { subsets, subsetSize, seed, result } = numpy.kid;
    const { mean, standardDeviation } = kernelDistanceOfSubsets(a, b, { subsets, subsetSize, seed });
    close(mean, result[0]!);
    close(standardDeviation, result[1]!);
    const other = kernelDistanceOfSubsets(a, b, { subsets, subsetSize, seed: seed + 1 });
    expect(Math.abs(other.mean - mean)).toBeGreaterThan(1e-4);
  });

  test('kernel distance and its jackknife, against leaving out each row in turn', () => {
    const { value, standardError } = kernelDistance(a, b);
    close(value, numpy.kernel.value);
    close(standardError, numpy.kernel.standardError);
  });

  test('inception score with splits, shuffled as torch-fidelity shuffles', () => {
    const { splits, seed, result } = numpy.inception;
    const { mean, standardDeviation } = inceptionScore(randomFeatures(5, 103, 10, 2), { splits, seed });
    close(mean, result[0]!);
    close(standardDeviation, result[1]!);
  });

  test.each([1, 3, 5] as const)('precision, recall, density, coverage at k = %i', (k) => {
    const { precision, recall, density, coverage } = prdc(a, b, { k });
    const expected = numpy.prdc[k];
    for (const [i, got] of [precision, recall, density, coverage].entries()) close(got, expected[i]!);
  });
});
