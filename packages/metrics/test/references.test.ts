import { describe, expect, test } from 'vitest';
import {
  cmmd,
  DiversityStatistics,
  directionalSimilarity,
  FeatureStatistics,
  type Features,
  frechetDistance,
  inceptionScore,
  kernelDistance,
  kernelDistanceOfSubsets,
  memorization,
  prdc,
  SimilarityStatistics,
} from '../src/index.js';
import references from './fixtures/references.json' with { type: 'json' };

const { N, D } = references;
/** The features of tooling/golden/scripts/metrics.py, rounded to float32 as there. */
const byFormula = (formula: (i: number, j: number) => number): Features => {
  const data = Float32Array.from({ length: N * D }, (_, n) => formula(Math.floor(n / D) + 1, (n % D) + 1));
  return { data, count: N, dim: D };
};
const X = byFormula((i, j) => Math.sin(0.37 * i * j + 0.1 * i));
const Y = byFormula((i, j) => 0.8 * Math.sin(0.371 * i * j + 0.11 * i) + 0.6 * Math.cos(0.91 * i + 0.3 * j * j) + 0.05);
const scaled = (a: Features, by: number): Features => ({ ...a, data: Float32Array.from(a.data, (v) => v * by) });
const rolled = (a: Features, by: number): Features => ({
  ...a,
  data: Float32Array.from({ length: N * D }, (_, n) => a.data[(n - by * D + N * D) % (N * D)]!),
});

/** Float64 references agree to rounding; those that compute in float32 to 1e-5; the project promises 1e-3. */
const close = (got: number, expected: number, tolerance: number) =>
  expect(Math.abs(got - expected)).toBeLessThan(tolerance * Math.abs(expected));

describe('the values of the reference libraries', () => {
  test.each([
    ['pytorch-fid fid', 1e-8], // its sqrtm
    ['clean-fid fid', 1e-8],
    ['torch-fidelity fid', 1e-7],
    ['torchmetrics fid', 1e-6], // float32 covariances
  ] as const)('%s', (name, tolerance) => {
    const [a, b] = [X, Y].map((f) => new FeatureStatistics(D).add(f)) as [FeatureStatistics, FeatureStatistics];
    close(frechetDistance(b, a), references[name], tolerance);
  });

  test('KID: clean-fid and torchmetrics on all rows, torch-fidelity’s mean and spread over its own draws', () => {
    close(kernelDistance(X, Y).value, references['clean-fid kid'], 1e-9);
    close(kernelDistance(X, Y).value, references['torchmetrics kid'], 1e-4); // float32 sums that cancel
    const { mean, standardDeviation } = kernelDistanceOfSubsets(X, Y, { subsets: 7, subsetSize: 50 });
    close(mean, references['torch-fidelity kid'][0]!, 1e-4);
    close(standardDeviation, references['torch-fidelity kid'][1]!, 1e-4);
  });

  test('inception score: torch-fidelity with splits, torchmetrics without', () => {
    const { mean, standardDeviation } = inceptionScore(scaled(X, 3), { splits: 5 });
    close(mean, references['torch-fidelity is'][0]!, 1e-9);
    close(standardDeviation, references['torch-fidelity is'][1]!, 1e-9);
    close(inceptionScore(scaled(X, 3), { splits: 1 }).mean, references['torchmetrics is'], 1e-6);
  });

  test('precision, recall, density, coverage: prdc for k = 3 and 5, torch-fidelity', () => {
    for (const k of [3, 5] as const) {
      const { precision, recall, density, coverage } = prdc(X, Y, { k });
      expect([precision, recall, density, coverage]).toEqual(references[`prdc ${k}`].map((v) => expect.closeTo(v, 12)));
    }
    const { precision, recall } = prdc(X, Y, { k: 3 });
    close(precision, references['torch-fidelity prc'][0]!, 1e-6);
    close(recall, references['torch-fidelity prc'][1]!, 1e-6);
  });

  test('CLIP score: torchmetrics; and what the lecture and Hessel et al. print of the same cosines', () => {
    const score = new SimilarityStatistics().add(X, Y).score();
    close(score.torchmetrics, references['torchmetrics clip-score'], 1e-6);
    expect(score.cosine).toBeCloseTo(score.torchmetrics / 100, 12);
    expect(score.hessel).toBeGreaterThan(2.5 * score.cosine); // some cosines are negative and count as 0
    const opposed = new SimilarityStatistics().add(X, scaled(X, -1)).score();
    expect([opposed.cosine, opposed.torchmetrics, opposed.hessel]).toEqual([expect.closeTo(-1, 12), 0, 0]);
  });

  test('CMMD, directional similarity, memorisation and diversity by their definitions', () => {
    close(cmmd(X, Y), references['numpy cmmd'], 1e-9);
    const direction = directionalSimilarity({ before: X, after: Y }, { before: rolled(X, 3), after: rolled(Y, 5) });
    close(direction, references['torch directional'], 1e-9);
    const copies = { ...Y, data: Y.data.slice() as Float32Array };
    for (let n = 0; n < 10 * D; n++) copies.data[n] = Math.fround(X.data[n]! + Math.fround(0.01));
    const { memorized, authenticity } = memorization(copies, X);
    expect([memorized, authenticity]).toEqual(references['scipy memorization'].map((v) => expect.closeTo(v, 12)));
    close(new DiversityStatistics(D).add(X).score(), references['numpy diversity'], 1e-9);
  });
});
