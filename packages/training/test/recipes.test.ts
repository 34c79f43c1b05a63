import '@tensorflow/tfjs';
import { type RandomStream, type TimeInput, TorchGenerator } from '@mezzotint/core';
import { type LogSnrCurve, type ProcessConfig, type SolverName, samplerFromProcess } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { defaultRecipe, recipeNamed, recipes } from '../src/index.js';

beforeAll(() => tf.setBackend('cpu'));

/** The times that each kind of process can tell a network. */
const times: Readonly<Record<string, readonly TimeInput[]>> = {
  discrete: ['timestep'],
  flow: ['timestep', 'unit'],
  edm: ['timestep', 'unit', 'sigma'],
  'log-snr': ['timestep', 'unit', 'log-snr', 'gamma'],
};
const allTimes = ['timestep', 'unit', 'sigma', 'gamma', 'log-snr'] as const satisfies readonly TimeInput[];

/** No noise, so that what the network sees of an image of ones tells the level; uniforms spread over [0, 1). */
const noiseless: RandomStream = {
  randn: (n) => new Float32Array(n),
  rand: (n) => Float32Array.from({ length: n }, (_, i) => (0.37 + 0.618 * i) % 1),
};

test.each(recipes.map((recipe) => recipe.name))(
  '%s: the network is told the same in training and in sampling',
  (name) => {
    const recipe = recipeNamed(name);
    const { kind } = recipe.process({ imageSize: 64, time: name.startsWith('edm') ? 'sigma' : 'timestep' });
    for (const time of allTimes) {
      const data = { imageSize: 64, time };
      if (!times[kind]!.includes(time)) {
        expect(() => recipe.process(data)).toThrow(new RegExp(`cannot tell a network its ${time}: take one of`));
        continue;
      }
      const process = recipe.process(data);
      const solver = recipe.sampling.solver as SolverName;
      const sampler = samplerFromProcess(process, { solver, limit: null });
      expect(sampler.schedule({ steps: recipe.sampling.steps }).alpha.length).toBeGreaterThan(1);
      const seen: { x: number; time: number }[] = [];
      const loss = tf.tidy(() =>
        recipe
          .objective(data, process)(
            (x, t) => {
              const first = tf.slice(x, [0, 0, 0, 0], [-1, 1, 1, 1]).dataSync();
              t.dataSync().forEach((value, n) => void seen.push({ x: first[n]!, time: value }));
              const learned = process.kind === 'discrete' && process.learnedVariance;
              return tf.zeros([x.shape[0], 64, 64, learned ? 2 : 1]);
            },
            { x0: tf.ones([8, 64, 64, 1]), cond: undefined },
            noiseless,
          )
          .dataSync(),
      );
      expect(loss.length).toBe(8); // one number an example
      expect(loss.every(Number.isFinite)).toBe(true);
      expect(seen.length).toBe(8);
      for (const { x, time: told } of seen) {
        // x = alpha for variance-preserving and flow, c_in for EDM, 1 where the network preconditions itself.
        let level = { alpha: x, sigma: Math.sqrt(Math.max(1 - x * x, 0)) };
        if (process.kind === 'flow') level = { alpha: x, sigma: 1 - x };
        if (process.kind === 'edm') level = { alpha: 1, sigma: time === 'sigma' ? told : Math.sqrt(1 / x ** 2 - 0.25) };
        if (x < 1e-3 || level.sigma < 1e-3) continue; // float32 tells nothing of the other
        // The discrete clock is linear between whole steps; all others are exact but for float32's alpha.
        const scale = Math.max(1, Math.abs(told));
        expect(Math.abs(sampler.timeOf(level) - told) / scale).toBeLessThan(process.kind === 'edm' ? 2e-3 : 2e-2);
      }
    }
  },
);

// gamma of RIN's simple_linear, cosine, cosine@s,e,tau and log@s,e,rev and of simple diffusion's eq. 6, written out apart.
const ln = Math.log;
test.each<[LogSnrCurve, (u: number) => number]>([
  [{ kind: 'gamma-linear' }, (u) => 1 - u],
  [
    { kind: 'gamma-cosine', start: 0.2, end: 1, tau: 2 },
    (u) => (Math.cos((Math.PI / 2) * (0.2 + 0.8 * u)) / Math.cos(Math.PI / 10)) ** 4,
  ],
  [{ kind: 'gamma-offset-cosine' }, (u) => 0.5 + 0.5 * Math.cos((Math.PI * (u + 0.0002)) / 1.00025)],
  [{ kind: 'gamma-log', start: 1, end: 100, reversed: false }, (u) => 1 - ln(1 + 99 * u) / ln(100)],
  [{ kind: 'gamma-log', start: 2, end: 50, reversed: true }, (u) => ln((50 - 48 * u) / 2) / ln(25)],
  [
    { kind: 'interpolated-cosine', size: 512, low: 32, high: 256, min: -15, max: 15 },
    (u) => {
      const [first, last] = [Math.atan(Math.exp(-7.5)), Math.atan(Math.exp(7.5))];
      const shift = u * 2 * ln(256 / 512) + (1 - u) * 2 * ln(32 / 512);
      return 1 / (1 + Math.tan(first + u * (last - first)) ** 2 / Math.exp(shift));
    },
  ],
])('the curve $kind is trained on: images as noisy as it says', (curve, gamma) => {
  const process: ProcessConfig = { kind: 'log-snr', curve, prediction: 'eps', time: 'fraction', timeScale: 1 };
  for (const name of ['rin', 'simple-diffusion', 'vdm++']) {
    let seen = 0;
    const loss = tf.tidy(() =>
      recipeNamed(name)
        .objective({ imageSize: 8, time: 'unit' }, process)(
          (x, t) => {
            const alpha = tf.slice(x, [0, 0, 0, 0], [-1, 1, 1, 1]).dataSync();
            t.dataSync().forEach((u, n) => {
              expect(Math.abs(alpha[n]! ** 2 - gamma(u))).toBeLessThan(1e-5);
              seen++;
            });
            return tf.zerosLike(x);
          },
          { x0: tf.ones([8, 8, 8, 1]), cond: undefined },
          noiseless,
        )
        .dataSync(),
    );
    expect(seen).toBe(8);
    expect(loss.every(Number.isFinite)).toBe(true);
  }
});

test.each(['v', 'x0'] as const)(
  'a learned variance is trained with eps: %s is refused, by any recipe',
  (prediction) => {
    const data = { imageSize: 8, time: 'timestep' } as const;
    const process: ProcessConfig = { kind: 'discrete', betas: 'cosine', steps: 10, prediction, learnedVariance: true };
    for (const name of ['ddpm', 'v-cosine', 'min-snr', 'improved-ddpm', 'dit']) {
      expect(() => recipeNamed(name).objective(data, process)).toThrow(
        new RegExp(`expected prediction eps, or learnedVariance false, got prediction ${prediction}`),
      );
    }
  },
);

test('a learned variance has its own weights: min-snr is refused', () => {
  const learned = recipeNamed('dit').process({ imageSize: 8, time: 'timestep' });
  expect(() => recipeNamed('min-snr').objective({ imageSize: 8, time: 'timestep' }, learned)).toThrow(
    /process: .*expected learnedVariance false beside min-snr, or the recipe improved-ddpm or dit/,
  );
});

test('RIN is trained without gradient clipping, as pix2seq, which does not hand it to LAMB', () => {
  expect(recipeNamed('rin').optimizer).toMatchObject({ kind: 'lamb', maxGradientNorm: null });
});

test('RIN is trained along a sigmoid and sampled along the plain cosine, as in all evaluations of pix2seq', () => {
  expect(recipeNamed('rin').process({ imageSize: 64, time: 'gamma' })).toMatchObject({
    curve: { kind: 'sigmoid', start: -3, end: 3, tau: 0.9 },
    samplingCurve: { kind: 'gamma-offset-cosine' },
  });
});

test.each(['edm', 'edm2'])("%s: another density of EDM's levels is what is trained", (name) => {
  const data = { imageSize: 8, time: 'unit' } as const;
  const logs: number[] = [];
  const net = (x: tf.Tensor4D, time: tf.Tensor1D) => {
    logs.push(...[...time.dataSync()].map((cNoise) => 4 * cNoise)); // told ln(sigma) / 4
    return tf.zerosLike(x);
  };
  const process = recipeNamed(name).process(data);
  const objective = recipeNamed(name).objective(
    { ...data, density: { kind: 'log-normal', mean: -0.6, std: 1.8 } },
    process,
  );
  tf.tidy(() => void objective(net, { x0: tf.ones([256, 8, 8, 1]), cond: undefined }, new TorchGenerator(1)));
  const mean = logs.reduce((sum, l) => sum + l, 0) / logs.length;
  const std = Math.sqrt(logs.reduce((sum, l) => sum + (l - mean) ** 2, 0) / logs.length);
  expect(logs).toHaveLength(256);
  // 256 levels, one in each 256th part of the distribution.
  expect([mean, std].map((value) => Math.round(20 * value) / 20)).toEqual([-0.6, 1.8]);
  expect(() => recipeNamed(name).objective({ ...data, density: { kind: 'mode' } }, process)).toThrow(
    /density: expected log-normal for EDM's process, got mode/,
  );
  const flow = recipeNamed('flow');
  expect(() =>
    flow.objective({ ...data, density: { kind: 'log-normal', mean: 0, std: 1 } }, flow.process(data)),
  ).toThrow(/density: expected uniform, logit-normal, mode or cosine for a flow, got log-normal/);
});

test('a process of another kind, and a name that is none, are refused', () => {
  const data = { imageSize: 8, time: 'timestep' } as const;
  const edm = recipeNamed('edm').process(data);
  expect(() => recipeNamed('flow').objective(data, edm)).toThrow(/needs a process of kind 'flow', got 'edm'/);
  expect(() => recipeNamed('magic')).toThrow(/expected one of ddpm, .*, got 'magic'/);
});

test('an architecture has a default recipe that its time fits', () => {
  const of = (time: TimeInput, name = 'X') => defaultRecipe({ name, time });
  expect(allTimes.map((time) => of(time))).toEqual(['v-cosine', 'flow', 'edm', 'rin', 'simple-diffusion']);
  expect(of('sigma', 'EDM2')).toBe('edm2');
  for (const time of allTimes) expect(recipeNamed(of(time)).process({ imageSize: 32, time })).toBeDefined();
});
