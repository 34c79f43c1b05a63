import { expect, test } from 'vitest';
import { type ProcessConfig, samplerFromProcess } from '../src/index.js';

const cosine: ProcessConfig = {
  kind: 'log-snr',
  curve: { kind: 'cosine', min: -60, max: 60, shift: 2 * Math.log(64 / 256) }, // ends that are not felt
  prediction: 'v',
  time: 'fraction',
  timeScale: 1000,
};
const options = { solver: 'ddim', limit: null } as const;

test('a process by log SNR tells the network where on its curve a level is', () => {
  const { timeOf } = samplerFromProcess(cosine, options);
  // simple diffusion's shifted cosine at u = 0.25, 0.5, 0.75 for 256 pixels as noisy as 64 (golden of k-diffusion's formula).
  for (const [u, logSnr] of [
    [0.25, -1.009841548200695],
    [0.5, -2.7725887222397807],
    [0.75, -4.535335896278867],
  ] as const) {
    const level = { alpha: Math.sqrt(1 / (1 + Math.exp(-logSnr))), sigma: Math.sqrt(1 / (1 + Math.exp(logSnr))) };
    expect(timeOf(level)).toBeCloseTo(1000 * u, 4);
    expect(samplerFromProcess({ ...cosine, time: 'log-snr' }, options).timeOf(level)).toBeCloseTo(logSnr, 9);
    const gamma = samplerFromProcess({ ...cosine, time: 'gamma', timeScale: 1 }, options).timeOf(level);
    expect(gamma).toBeCloseTo(level.alpha ** 2, 12);
  }
});

test("RIN's sigmoid runs from almost noise to the image", () => {
  const process: ProcessConfig = { ...cosine, curve: { kind: 'sigmoid', start: -3, end: 3, tau: 0.9 }, time: 'gamma' };
  const table = samplerFromProcess(process, options).schedule({ steps: 4 });
  // gamma at u = 1, 0.75, 0.5, 0.25 of pix2seq (float32).
  const expected = [1e-9, 0.1336296647786932, 0.5, 0.8663703203201294];
  expected.forEach((gamma, i) => {
    expect(Math.abs(table.alpha[i]! ** 2 - gamma)).toBeLessThan(3e-7);
  });
  expect(table.sigma[4]).toBe(0);
});

test('a network that preconditions itself is given sigma, and answers x0', () => {
  const edm: ProcessConfig = { kind: 'edm', sigmaData: 0.5, sigmaMin: 0.002, sigmaMax: 80 };
  const level = { alpha: 1, sigma: 3 };
  expect(samplerFromProcess(edm, { ...options, solver: 'heun' }).timeOf(level)).toBeCloseTo(Math.log(3) / 4, 12);
  expect(samplerFromProcess({ ...edm, denoises: true }, { ...options, solver: 'heun' }).timeOf(level)).toBe(3);
});
