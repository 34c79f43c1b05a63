import { InvalidArgumentError, TorchGenerator } from '@mezzotint/core';
import { expect, test } from 'vitest';
import {
  cosineLevels,
  independent,
  logitNormalFlow,
  logNormalSigmas,
  lowDiscrepancy,
  noiseLevels,
  stratified,
  uniformTimesteps,
} from '../src/index.js';
import { probit } from '../src/noise-levels/probit.js';
import { processOf } from './tiny-model.js';

test('probit is the quantile of the normal', () => {
  // Values of the standard tables, 12 digits; the approximation promises 1.2e-9.
  const known: [number, number][] = [
    [0.5, 0],
    [0.975, 1.95996398454],
    [0.84134474606854, 1],
    [0.001, -3.09023230616781],
    [1e-7, -5.19933758219273],
  ];
  for (const [p, z] of known) expect(Math.abs(probit(p) - z)).toBeLessThan(1e-8);
  expect(probit(0.02)).toBeCloseTo(-probit(0.98), 12);
});

test('every step is drawn as often as the others', () => {
  const process = processOf([0.9, 0.7, 0.4, 0.2]);
  const draw = noiseLevels(uniformTimesteps(process), independent);
  const counts = [0, 0, 0, 0];
  for (const level of draw(40_000, new TorchGenerator(1))) {
    counts[level.time]!++;
    expect([level.alpha, level.sigma]).toEqual([process.alpha[level.time], process.sigma[level.time]]);
  }
  // Binomial(40000, 1/4) has a standard deviation of 87; five of them.
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(435);
});

test('stratified and low-discrepancy batches hit every slice once', () => {
  for (const spread of [stratified, lowDiscrepancy]) {
    for (const seed of [1, 2, 3]) {
      const slices = Array.from(spread(16, new TorchGenerator(seed)), (u) => Math.floor(u * 16));
      expect(slices.sort((a, b) => a - b)).toEqual(Array.from({ length: 16 }, (_, i) => i));
    }
  }
  expect(stratified(4, new TorchGenerator(1))).not.toEqual(stratified(4, new TorchGenerator(2)));
});

test('log-normal, logit-normal and cosine levels have the quantiles of their formulas', () => {
  const upper = 0.84134474606854; // one standard deviation
  expect(logNormalSigmas({ mean: -1.2, std: 1.2 })(upper).sigma).toBeCloseTo(1, 6);
  expect(logNormalSigmas()(0.5).sigma).toBeCloseTo(Math.exp(-1.2), 6);
  const flow = logitNormalFlow({ mean: 0.5, std: 2 })(upper);
  expect(flow.sigma).toBeCloseTo(1 / (1 + Math.exp(-2.5)), 6);
  expect(flow.alpha + flow.sigma).toBeCloseTo(1, 12);
  expect(flow.time).toBeCloseTo(1000 * flow.sigma, 9);
  const cosine = cosineLevels({ minLogSnr: -10, maxLogSnr: 12 });
  const logSnr = ({ alpha, sigma }: { alpha: number; sigma: number }) => 2 * Math.log(alpha / sigma);
  expect(logSnr(cosine(0))).toBeCloseTo(12, 9);
  expect(logSnr(cosine(1))).toBeCloseTo(-10, 9);
  expect(cosine(0.25).alpha ** 2 + cosine(0.25).sigma ** 2).toBeCloseTo(1, 12);
  // With symmetric ends the middle is SNR 1.
  expect(logSnr(cosineLevels()(0.5))).toBeCloseTo(0, 12);
});

test('the ends of the uniform give finite levels', () => {
  for (const u of [0, 1 - 2 ** -24, 1]) {
    expect(logNormalSigmas()(u).sigma).toBeGreaterThan(0);
    expect(Number.isFinite(logNormalSigmas()(u).sigma)).toBe(true);
    expect(logitNormalFlow()(u).alpha).toBeGreaterThan(0);
  }
});

test('what is no process is refused', () => {
  expect(() => uniformTimesteps({ alpha: [], sigma: [] })).toThrow(InvalidArgumentError);
  expect(() => uniformTimesteps({ alpha: [1, 0.5], sigma: [0] })).toThrow(/2 and 1/);
  expect(() => uniformTimesteps({ alpha: [0.5], sigma: [0.5] })).toThrow(/step 0/);
});
