import { switchTo, testEngines } from '@mezzotint/backend/testing';
import type { Denoiser, VarianceDenoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  consistency,
  consistencyBoundary,
  consistencyTimesteps,
  cosineBetas,
  customSchedule,
  ddim,
  ddimInverse,
  ddpm,
  ddpmLarge,
  ddpmLearned,
  denoiser,
  discreteProcess,
  discreteTime,
  dpm2Ancestral,
  dpmpp,
  dpmppSde,
  dpmSolverSde,
  edm,
  edmTime,
  epsilon,
  eulerAncestral,
  gridFlowSigmas,
  ipndm,
  karrasSigmas,
  laplaceBetas,
  leadingTimesteps,
  levelAt,
  linearBetas,
  linspaceTimesteps,
  type Need,
  type NoiseSchedule,
  noiseRatioAt,
  type Parameterisation,
  pcVe,
  pndm,
  run,
  type ScheduleKind,
  type Solver,
  saSolver,
  scaledLinearBetas,
  shiftFlow,
  shiftFlowLinearly,
  sigmaSchedule,
  sigmoidBetas,
  stretchFlow,
  tcd,
  timestepSchedule,
  varianceDenoiser,
  vPrediction,
  zeroTerminalSnr,
} from '../src/index.js';
import { repaintRows } from '../src/solvers/repaint.js';
import { compareStep, dummyNetwork, dummyNoise, dummySample } from './dummy.js';
import golden from './fixtures/stochastic.json' with { type: 'json' };

interface Setup {
  readonly solver: Solver<ScheduleKind, Need>;
  readonly table: NoiseSchedule;
  readonly start?: number;
  readonly entry?: (k: number) => number;
  readonly predicts?: Parameterisation;
  readonly model?: Denoiser | VarianceDenoiser;
}

const precision = 'float32';
const linear = discreteProcess(linearBetas(), { precision });
const sd = discreteProcess(scaledLinearBetas(), { precision });
const leading = timestepSchedule(linear, leadingTimesteps(1000, 10));
const dropLast = (final: 'clean' | 'first') =>
  timestepSchedule(sd, linspaceTimesteps(1000, 10, { dropLast: true }), { final });
const linspace = linspaceTimesteps(1000, 10);
const exploding = (): NoiseSchedule<'ve'> => {
  const sigma = Float64Array.from([...linspace.map((t) => noiseRatioAt(sd, t)), 0]);
  return customSchedule('ve', { alpha: sigma.map(() => 1), sigma, time: Float64Array.from([...linspace, 0]) });
};
const few = (final: 'clean' | 'first') => timestepSchedule(sd, consistencyTimesteps(4), { final });
const edmTable = sigmaSchedule(karrasSigmas({ steps: 10, min: 0.002, max: 80 }), edmTime);

const setups: Readonly<Record<string, () => Setup>> = {
  'DDPM small': () => ({ solver: ddpm(), table: leading }),
  'DDPM large': () => ({ solver: ddpmLarge(), table: leading }),
  'DDPM learned': () => ({
    solver: ddpmLearned(),
    table: leading,
    // Their model gives [prediction, sin(prediction)] as channels.
    model: varianceDenoiser(
      (x, t) =>
        tf.tidy(() => {
          const f = dummyNetwork(x, t, undefined);
          return tf.concat4d([f, tf.sin(f)], 3);
        }),
      epsilon,
    ),
  }),
  'DDIM eta 1': () => ({ solver: ddim({ eta: 1 }), table: leading }),
  'DDIM eta 0.5': () => ({ solver: ddim({ eta: 0.5 }), table: leading }),
  'DDIM inverse': () => ({ solver: ddimInverse(), table: timestepSchedule(sd, leadingTimesteps(1000, 10)) }),
  'Euler ancestral': () => ({ solver: eulerAncestral(), table: exploding(), start: noiseRatioAt(sd, 999) }),
  'KDPM2 ancestral': () => ({
    solver: dpm2Ancestral(),
    table: exploding(),
    start: noiseRatioAt(sd, 999),
    entry: (k) => Math.min(2 * k + 1, 18),
  }),
  'SDE DPM++1M': () => ({ solver: dpmppSde({ order: 1 }), table: dropLast('clean') }),
  'SDE DPM++2M': () => ({ solver: dpmppSde(), table: dropLast('clean') }),
  'SDE DPM++2M heun': () => ({ solver: dpmppSde({ type: 'heun' }), table: dropLast('clean') }),
  'SDE DPM-1M': () => ({ solver: dpmSolverSde({ order: 1 }), table: dropLast('first') }),
  'SDE DPM-2M': () => ({ solver: dpmSolverSde(), table: dropLast('first') }),
  'SDE DPM-2M heun': () => ({ solver: dpmSolverSde({ type: 'heun' }), table: dropLast('first') }),
  'SA-Solver': () => ({
    solver: saSolver({ tau: ({ time }) => (time! >= 200 && time! <= 800 ? 1 : 0) }),
    table: dropLast('first'),
  }),
  'SA-Solver 3-3': () => ({
    solver: saSolver({ predictorOrder: 3, correctorOrder: 3, tau: () => 0.7 }),
    table: dropLast('first'),
  }),
  LCM: () => ({
    solver: consistency(),
    table: few('clean'),
    model: consistencyBoundary(denoiser(dummyNetwork, epsilon)),
  }),
  TCD: () => ({ solver: tcd({ process: sd }), table: few('first') }),
  // A chain of its own, without its first row (alpha 0), and a network that predicts v.
  IPNDM: () => {
    const sigma = Float64Array.from({ length: 10 }, (_, i) => Math.sin(((0.9 - i / 10) * Math.PI) / 2) ** 2);
    const alpha = sigma.map((s) => Math.sqrt(1 - s * s));
    const time = sigma.map((s, i) => (Math.atan2(s, alpha[i]!) / Math.PI) * 2);
    return { solver: ipndm(), table: customSchedule('vp', { alpha, sigma, time }), predicts: vPrediction };
  },
  'PNDM with Runge-Kutta': () => ({
    solver: pndm({ process: linear }),
    table: timestepSchedule(linear, leadingTimesteps(1000, 10).slice(0, -1), { final: 'first' }),
    entry: (k) => (k < 3 ? 4 * k + 3 : 9 + k),
  }),
  'EDM DPM++2M': () => ({ solver: dpmpp(), table: edmTable, start: Math.hypot(80, 1), predicts: edm() }),
  'EDM DPM++3M': () => ({ solver: dpmpp({ order: 3 }), table: edmTable, start: Math.hypot(80, 1), predicts: edm() }),
  'Score SDE VE': () => ({
    solver: pcVe({ snr: 0.15 }),
    table: sigmaSchedule([...(golden.trajectories['Score SDE VE'].sigmas as number[]), 0]),
    start: 50,
    model: (x, { sigma }) => tf.tidy(() => tf.mul<tf.Tensor4D>(x, 0.25 / (sigma ** 2 + 0.25))),
  }),
};

describe.each(await testEngines())('on %s, samplers of diffusers on the same noise, float32 tensors', (engine) => {
  beforeAll(() => switchTo(engine));

  for (const [name, expected] of Object.entries(golden.trajectories)) {
    test(name, async () => {
      const setup = setups[name]!();
      const model = setup.model ?? denoiser(dummyNetwork, setup.predicts ?? epsilon, { clock: discreteTime(sd) });
      const x = dummySample(setup.start);
      let compared = 0;
      for await (const step of run(setup.solver, model, x, setup.table, undefined, { noise: dummyNoise() })) {
        // float32 on both sides; noise of size 1 leaves elements near 0, so a part of the tolerance is absolute.
        compared += compareStep(step, expected.steps[(setup.entry ?? ((k) => k))(step.index)]!, 1e-5, 2e-6);
      }
      expect(compared).toBeGreaterThanOrEqual(4 * 3);
      x.dispose();
    });
  }
});

describe('chains and flow tables of diffusers', () => {
  const { tables } = golden;
  const betas = {
    linear: linearBetas(),
    'scaled linear': scaledLinearBetas(),
    cosine: cosineBetas(),
    sigmoid: sigmoidBetas(),
    laplace: laplaceBetas(),
    'zero SNR': zeroTerminalSnr(scaledLinearBetas()),
  };
  for (const [name, values] of Object.entries(betas)) {
    test(`bar alpha, ${name}`, () => {
      const { alpha } = discreteProcess(values);
      tables['alpha bar at'].forEach((t, i) => {
        const expected = tables['alpha bar'][name as keyof typeof betas][i]!;
        // Theirs: 1000 float32 betas, each 1 - beta rounded by 6e-8: 2e-5 of a product of 1000 such factors. Zero SNR
        // takes a difference of two such roots that are 1 % apart at t = 998.
        const relative = name === 'zero SNR' ? 1e-4 : 2e-5;
        expect(Math.abs(alpha[t]! ** 2 - expected)).toBeLessThanOrEqual(relative * expected + 1e-12);
      });
    });
  }

  test('flow tables', () => {
    const stretched = stretchFlow(shiftFlow(gridFlowSigmas(10, { endShift: 3 }), 3), 0.1);
    near(stretched, tables['flow stretched to 0.1, shift 3, n=10']);
    near(shiftFlowLinearly(gridFlowSigmas(10), 1.15), tables['flow linear time shift mu 1.15, n=10']);
  });

  test('rows of RePaint', () => {
    const rows = repaintRows(50, 5, 3);
    expect(rows.slice(0, -1).map((row) => (49 - row) * 20)).toEqual(
      tables['RePaint rows, 50 of 1000, jump 5, resample 3'],
    );
    expect(rows.at(-1)).toBe(50);
  });

  test('a level of the table', () => {
    expect(levelAt(leading, 0).time).toBe(900);
  });
});

/** float32 values of theirs. */
function near(got: Float64Array, expected: readonly number[]): void {
  expect(got.length).toBe(expected.length);
  expected.forEach((e, i) => {
    expect(Math.abs(got[i]! - e)).toBeLessThanOrEqual(1e-6 * e);
  });
}
