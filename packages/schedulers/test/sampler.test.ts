import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import {
  createSolver,
  initialNoise,
  type Network,
  noiseRatio,
  type ProcessConfig,
  type Sampler,
  sample,
  samplerFromDiffusers,
  samplerFromProcess,
  solvers,
  torchNoise,
} from '../src/index.js';
import { levelAt } from '../src/schedules/schedule.js';

const discrete: ProcessConfig = {
  kind: 'discrete',
  betas: 'scaled-linear',
  steps: 1000,
  prediction: 'eps',
  learnedVariance: false,
};
const edm: ProcessConfig = { kind: 'edm', sigmaData: 0.5, sigmaMin: 0.002, sigmaMax: 80 };
const flow: ProcessConfig = { kind: 'flow', shift: 3, timeScale: 1000 };
const logSnr: ProcessConfig = {
  kind: 'log-snr',
  curve: { kind: 'cosine', min: -15, max: 15, shift: -2 },
  prediction: 'v',
  time: 'fraction',
  timeScale: 1000,
};
const chain = {
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  beta_end: 0.012,
  steps_offset: 1,
  _class_name: 'EulerDiscreteScheduler',
};
const clip = { kind: 'clip', range: 1 } as const;

/** Every kind of process makes the same value, and one loop runs it. */
async function run(sampler: Sampler, network: Network): Promise<Float32Array> {
  const noise = torchNoise(3);
  const schedule = sampler.schedule({ steps: 4 });
  const x = initialNoise(schedule, [1, 2, 2, 3], noise, { initNoiseSigma: sampler.initNoiseSigma(schedule) });
  const end = await sample(sampler.solver, sampler.model(network), x, schedule, undefined, { noise });
  const values = await end.data<'float32'>();
  tf.dispose([x, end]);
  return values.slice();
}

test.each([
  ['discrete', samplerFromProcess(discrete, { solver: 'dpmpp-2m', limit: clip })],
  ['EDM', samplerFromProcess(edm, { solver: 'heun', limit: clip })],
  ['log SNR', samplerFromProcess(logSnr, { solver: 'ddim', limit: clip })],
  ['log SNR in sigma', samplerFromProcess(logSnr, { solver: 'heun', limit: clip })],
  ['flow', samplerFromProcess(flow, { solver: 'euler', limit: clip })],
  ['diffusers', samplerFromDiffusers({ ...chain, prediction_type: 'v_prediction' }).withSolver('ddim')],
])('%s: one loop runs every sampler, and leaks nothing', async (_name, sampler) => {
  const before = tf.memory().numTensors;
  const values = await run(sampler, (x) => tf.tanh(x));
  expect(values.every((v) => Number.isFinite(v) && Math.abs(v) < 5)).toBe(true);
  expect(values.some((v) => v !== 0)).toBe(true);
  expect(tf.memory().numTensors).toBe(before);
});

test('spacing is an option of every solver: Karras levels from the ends of the process', () => {
  const sampler = samplerFromDiffusers(chain).withSolver('dpmpp-2m', { sigmas: 'karras', rho: 7 });
  const schedule = sampler.schedule({ steps: 5 });
  const ratios = Array.from(schedule.sigma, (_, i) => noiseRatio(levelAt(schedule, i)));
  // diffusers, EulerDiscreteScheduler with use_karras_sigmas over Stable Diffusion's levels: 14.6146 to 0.0292.
  expect(ratios[0]).toBeCloseTo(14.6146, 3);
  expect(ratios[4]).toBeCloseTo(0.0292, 4);
  const middle = ((14.6146 ** (1 / 7) + 0.0292 ** (1 / 7)) / 2) ** 7;
  expect(ratios[2]! / middle).toBeCloseTo(1, 2);
  expect(ratios[5]).toBe(0);
});

test('a consistency model spreads its steps over the strength of image to image', () => {
  const lcm = samplerFromDiffusers({ _class_name: 'LCMScheduler' });
  expect([lcm.spreadsStrength, samplerFromDiffusers(chain).spreadsStrength]).toEqual([true, false]);
  const times = (steps: number, strength?: number) =>
    Array.from(lcm.schedule({ steps, ...(strength !== undefined && { strength }) }).time!).slice(0, steps);
  // LCMScheduler.set_timesteps: of 50 times of the distillation the lowest 50 x 0.8.
  expect(times(4, 0.8)).toEqual([799, 599, 399, 199]);
  expect(times(4)).toEqual([999, 759, 499, 259]);
  expect(() => times(4, 0.05)).toThrow(/from 1 to 2 \(50 times, strength 0.05\), got 4/);
});

test('options of the solver are checked against its declaration, all at once', () => {
  const sampler = samplerFromProcess(discrete, { solver: 'ddim', solverOptions: { eta: 1 }, limit: clip });
  expect(sampler.solver.stochastic).toBe(true);
  expect(() => sampler.withSolver('ddim', { eta: 2, sigmas: 'magic', churn: 3 })).toThrowError(
    /eta: expected a number from 0 to 1, got 2[\s\S]*sigmas: expected model or karras[\s\S]*no option 'churn'; it has eta, sigmas, rho/,
  );
  expect(() => sampler.withSolver('ddim', { sigmas: 'exponential', rho: 3 })).toThrowError(
    /rho: expected sigmas karras beside it, got exponential/,
  );
  expect(() => sampler.withSolver('ddim', { rho: 3 })).toThrowError(/rho: .* got model/);
  expect(() => createSolver('toString' as 'ddim')).toThrowError(/unknown solver 'toString'/);
  expect(() => sampler.withSolver('ddpm-learned')).toThrowError(/needs a network that learned the variance/);
});

test('each declared default is the default of the solver', () => {
  for (const [name, entry] of Object.entries(solvers)) {
    const absent = Object.fromEntries(Object.entries(entry.options).map(([key, option]) => [key, option.absent]));
    const made = createSolver(name as keyof typeof solvers, absent);
    expect(made.name, name).toBe(createSolver(name as keyof typeof solvers).name);
    expect(made.stochastic, name).toBe(entry.stochastic);
  }
});

test('a learned variance reaches the solver that needs it, and is left out for the others', async () => {
  const learned = { ...discrete, learnedVariance: true };
  const network: Network = (x) => tf.tidy(() => tf.concat<tf.Tensor4D>([tf.mul<tf.Tensor4D>(x, 0.3), tf.tanh(x)], 3));
  const small = await run(samplerFromProcess(learned, { solver: 'ddpm', limit: clip }), network);
  const other = await run(samplerFromProcess(learned, { solver: 'ddpm-learned', limit: clip }), network);
  expect(other).not.toEqual(small);
});

test('guidance comes before clipping', () => {
  const sampler = samplerFromProcess(discrete, { solver: 'ddim', limit: clip });
  const guide =
    (plain: Denoiser): Denoiser =>
    (x, at) =>
      tf.tidy(() => tf.mul(plain(x, at), 100));
  const model = sampler.model((x) => tf.zerosLike(x), guide) as Denoiser;
  const x0 = tf.tidy(() => model(tf.ones([1, 1, 1, 1]), { alpha: 0.6, sigma: 0.8, time: 500 }));
  expect(x0.dataSync()[0]).toBe(1); // 100 / 0.6, clipped
  x0.dispose();
});

test('where a model hands over is a time of its process; EDM has none', () => {
  expect(samplerFromDiffusers(chain).timeAt(0.2)).toBe(200);
  expect(samplerFromProcess(flow, { solver: 'euler', limit: null }).timeAt(0.2)).toBe(200);
  expect(() => samplerFromProcess(edm, { solver: 'heun', limit: null }).timeAt(0.2)).toThrowError(/cannot hand over/);
});

test('a network that counts a discrete process in its own way is told its own times, at every row', () => {
  const process = {
    kind: 'discrete',
    betas: 'linear',
    steps: 1000,
    prediction: 'eps',
    learnedVariance: false,
  } as const;
  const plain = samplerFromProcess(process, { solver: 'ddim', limit: null });
  const counted = samplerFromProcess(process, { solver: 'ddim', limit: null, timeOf: (at) => plain.timeOf(at) + 1 });
  const times = (sampler: typeof plain) => [...sampler.schedule({ steps: 4 }).time!].slice(0, 4);
  expect(times(plain)).toEqual([999, 749, 499, 249]);
  // Found by a logarithm in float64.
  for (const [i, time] of times(counted).entries()) expect(time).toBeCloseTo([1000, 750, 500, 250][i]!, 9);
});
