import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import {
  initialNoise,
  type LogSnrCurve,
  logSnrOf,
  type ProcessConfig,
  perImageNoise,
  type Sampler,
  sample,
  samplerFromProcess,
} from '../src/index.js';

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

test('with a sampling curve levels lie on it, and the network is told where on its own curve they are', () => {
  const [sigmoid, steps] = [{ kind: 'sigmoid', start: -3, end: 3, tau: 0.9 }, 4] as const;
  const process: ProcessConfig = {
    ...{ ...cosine, curve: sigmoid },
    samplingCurve: { kind: 'gamma-cosine', start: 0, end: 1, tau: 1 },
  };
  const table = samplerFromProcess(process, options).schedule({ steps });
  // gamma of cosine@0,1,1 at u = 1, 0.75, 0.5, 0.25 of pix2seq (float32).
  [1e-9, 0.14644663035869598, 0.49999991059303284, 0.8535533547401428].forEach((gamma, i) => {
    expect(Math.abs(table.alpha[i]! ** 2 - gamma)).toBeLessThan(3e-7);
  });
  // The curves cross in the middle; elsewhere the sigmoid has the same gamma at another u.
  const gammaAt = (time: number) => 1 / (1 + Math.exp(-logSnrOf(sigmoid)(time / 1000)));
  expect(table.time![2]).toBeCloseTo(500, 3);
  for (const i of [1, 3]) {
    expect(Math.abs(table.time![i]! - 250 * (4 - i))).toBeGreaterThan(5);
    expect(gammaAt(table.time![i]!)).toBeCloseTo(table.alpha[i]! ** 2, 9);
  }
});

// gamma at u = 0.75, 0.5, 0.25: of pix2seq (float32), and of simple diffusion's eq. 6 in float64 at 512 pixels.
test.each<[string, LogSnrCurve, readonly number[]]>([
  ['simple_linear', { kind: 'gamma-linear' }, [0.25, 0.5, 0.75]],
  [
    'cosine@0,1,1',
    { kind: 'gamma-cosine', start: 0, end: 1, tau: 1 },
    [0.14644663035869598, 0.49999991059303284, 0.8535533547401428],
  ],
  [
    'cosine@0.2,1,1',
    { kind: 'gamma-cosine', start: 0.2, end: 1, tau: 1 },
    [0.10557278990745544, 0.38196590542793274, 0.7236067056655884],
  ],
  ['cosine', { kind: 'gamma-offset-cosine' }, [0.1464327871799469, 0.49988216161727905, 0.853400707244873]],
  [
    'log@1,100,false',
    { kind: 'gamma-log', start: 1, end: 100, reversed: false },
    [0.06174673140048981, 0.14835429191589355, 0.2946114242076874],
  ],
  [
    'log@1,100,true',
    { kind: 'gamma-log', start: 1, end: 100, reversed: true },
    [25.75, 50.5, 75.25].map((t) => Math.log(t) / Math.log(100)), // in float64
  ],
  [
    'interpolated from 32 to 256',
    { kind: 'interpolated-cosine', size: 512, low: 32, high: 256, min: -15, max: 15 },
    [-4.18719838, -3.4657359, -2.74427343].map((logSnr) => 1 / (1 + Math.exp(-logSnr))),
  ],
])('the curve %s: its levels, from almost noise to the image, and where on it they are', (_, curve, expected) => {
  const process: ProcessConfig = { ...cosine, curve };
  const made = samplerFromProcess(process, options);
  const table = made.schedule({ steps: 4 });
  expect(table.alpha[0]! ** 2).toBeLessThan(1e-6);
  expected.forEach((gamma, i) => {
    expect(Math.abs(table.alpha[i + 1]! ** 2 - gamma)).toBeLessThan(3e-7);
    const level = { alpha: Math.sqrt(gamma), sigma: Math.sqrt(1 - gamma) };
    expect(made.timeOf(level)).toBeCloseTo(750 - 250 * i, 3);
  });
  expect(table.sigma[4]).toBe(0);
});

test('a curve that does not fall is refused; the far shift of an interpolated one is the size where none is said', () => {
  const shifts = { kind: 'interpolated-cosine', size: 1024, low: 32, min: -15, max: 15 } as const;
  expect(() => logSnrOf(shifts)).toThrow(/high must be less than 23\.1 times low, .* got low 32 and high 1024/);
  expect(logSnrOf({ ...shifts, size: 512 })(1)).toBeCloseTo(-15, 9);
  expect(() => logSnrOf({ kind: 'gamma-cosine', start: 1, end: 1, tau: 1 })).toThrow(
    /start and end must be two levels/,
  );
  const log = (start: number, end: number) => logSnrOf({ kind: 'gamma-log', start, end, reversed: false });
  expect(() => log(0, 100)).toThrow(/logGamma: start and end must be above 0, got 0 and 100/);
  expect(() => log(7, 7)).toThrow(/start and end must be two levels, got 7 and 7/);
});

test("pix2seq's cosine is not cut: its ends are its own, the sums of its offsets", () => {
  const ends = samplerFromProcess({ ...cosine, curve: { kind: 'gamma-offset-cosine' } }, options);
  const { alpha } = ends.schedule({ steps: 4 });
  expect(alpha[0]! ** 2 / ((Math.PI / 2) * (0.00005 / 1.00025)) ** 2).toBeCloseTo(1, 6);
  expect(logSnrOf({ kind: 'gamma-offset-cosine' })(0)).toBeCloseTo(
    -2 * Math.log(Math.tan((Math.PI / 2) * (0.0002 / 1.00025))),
    6,
  );
});

test('a network that preconditions itself is given x and sigma as they are, and answers x0; the same pictures come out', async () => {
  const edm: ProcessConfig = { kind: 'edm', sigmaData: 0.5, sigmaMin: 0.002, sigmaMax: 80 };
  const level = { alpha: 1, sigma: 3 };
  const [inside, outside] = [true, false].map((denoises) =>
    samplerFromProcess({ ...edm, denoises }, { ...options, solver: 'heun' }),
  ) as [Sampler, Sampler];
  expect(outside.timeOf(level)).toBeCloseTo(Math.log(3) / 4, 12);
  expect(inside.timeOf(level)).toBe(3);
  // F of some network, and D of the same with table 1's preconditioning inside.
  const f = (x: tf.Tensor4D, cNoise: number) => tf.add(tf.mul(tf.tanh(x), 0.3), cNoise / 5) as tf.Tensor4D;
  const d = (x: tf.Tensor4D, sigma: number) => {
    const total = Math.hypot(sigma, 0.5);
    const inner = f(tf.div(x, total), Math.log(sigma) / 4);
    return tf.add(tf.mul(x, 0.25 / total ** 2), tf.mul(inner, (sigma * 0.5) / total)) as tf.Tensor4D;
  };
  const picture = async (made: Sampler, net: typeof f) => {
    const schedule = made.schedule({ steps: 6 });
    const z = initialNoise(schedule, [1, 4, 4, 1], perImageNoise([3]));
    const model = made.denoiser((x, time) => net(x, time.dataSync()[0]!));
    return (await sample(made.solver, model as never, z, schedule, {} as never)).dataSync<'float32'>();
  };
  const [byD, byF] = [await picture(inside, d), await picture(outside, f)];
  byD.forEach((value, i) => {
    expect(Math.abs(value - byF[i]!)).toBeLessThan(1e-4); // float32 from sigma 80
  });
  expect(Math.max(...byF) - Math.min(...byF)).toBeGreaterThan(0.01);
});
