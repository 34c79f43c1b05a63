import { describe, expect, test } from 'vitest';
import {
  customSchedule,
  ddim,
  ddimInverse,
  ddpm,
  ddpmInterpolated,
  ddpmLarge,
  deis,
  discreteProcess,
  dpm2,
  dpm2Ancestral,
  dpmpp,
  dpmppSde,
  dpmSolver,
  edict,
  edictInverse,
  edmStochastic,
  euler,
  eulerAncestral,
  flowHeun,
  flowSchedule,
  type HostDenoiser,
  heun,
  ipndm,
  karrasSigmas,
  leadingTimesteps,
  linearBetas,
  lms,
  type NoiseSchedule,
  type NoiseSource,
  plms,
  ratioSchedule,
  restart,
  type ScheduleKind,
  type Solver,
  saSolver,
  sigmaSchedule,
  tcd,
  timestepSchedule,
  trace,
  traceEnd,
  uniformFlowSigmas,
  unipc,
  zeroTerminalSnr,
} from '../src/index.js';
import { gaussian } from './gaussian.js';

type Plain = Solver<ScheduleKind, 'estimate'>;

/** A curved estimate, so that a law that held for linear ones alone would fail. */
const curved: HostDenoiser = (x, { alpha, sigma }) =>
  x.map((v) => Math.tanh((alpha * v) / (sigma ** 2 + alpha ** 2)) + 0.1 * Math.sin(3 * sigma));

const start = Float64Array.of(1.1, -0.4, 0.3, 2.2);
const chain = discreteProcess(linearBetas());
const vp = timestepSchedule(chain, leadingTimesteps(1000, 12));
const ve = sigmaSchedule(karrasSigmas({ steps: 12, min: 0.01, max: 20 }));
const flow = flowSchedule(uniformFlowSigmas(12));
const silent = timestepSchedule(
  discreteProcess(zeroTerminalSnr(linearBetas())),
  [999, 800, 600, 400, 200, 100, 50, 20],
);

/** The same numbers each run: draw k is sin(k + j). */
function noise(): NoiseSource {
  let k = 0;
  return {
    draw: (shape) => Float32Array.from({ length: shape[0]! }, (_, j) => Math.sin(1.7 * k++ + j)),
    save: () => k,
    restore: () => {},
  };
}

function sameRun(a: Plain, b: Plain, table: NoiseSchedule, scale = 1): void {
  const x = start.map((v) => v * scale);
  const left = traceEnd(a, curved, x, table, { noise: noise() });
  const right = traceEnd(b, curved, x, table, { noise: noise() });
  left.forEach((v, i) => {
    // Two ways to the same float64 numbers.
    expect(Math.abs(v - right[i]!)).toBeLessThanOrEqual(1e-10 * Math.max(1, Math.abs(v)));
  });
}

describe('laws between solvers', () => {
  const laws: readonly (readonly [string, Plain, Plain, readonly NoiseSchedule[]])[] = [
    ['DDIM(0) = Euler', ddim(), euler(), [vp, ve, flow, silent]],
    ['ancestral Euler with eta 0 = Euler', eulerAncestral({ eta: 0 }), euler(), [vp, ve]],
    ['ancestral Euler = DDIM with the same eta', eulerAncestral({ eta: 0.7 }), ddim({ eta: 0.7 }), [vp, ve]],
    ['ancestral Euler = DDPM', eulerAncestral(), ddpm(), [vp, ve]],
    ['DDIM(1) = DDPM', ddim({ eta: 1 }), ddpm(), [vp, ve]],
    ['DPM++1 = DDIM', dpmpp({ order: 1 }), ddim(), [vp, ve, flow, silent]],
    ['DPM-Solver-1 = DDIM', dpmSolver({ order: 1 }), ddim(), [vp, ve]],
    ['SDE-DPM++1 = DDPM', dpmppSde({ order: 1 }), ddpm(), [vp, ve]],
    ['SDE-DPM++2M with eta 0 = DPM++2M', dpmppSde({ eta: 0 }), dpmpp(), [vp, ve, flow]],
    ['DEIS-1 = DDIM', deis({ order: 1 }), ddim(), [vp, ve]],
    ['DEIS-2 = DPM-Solver-2 heun', deis({ order: 2 }), dpmSolver({ type: 'heun' }), [vp, ve]],
    ['UniPC-1 without corrector = DDIM', unipc({ order: 1, corrector: false }), ddim(), [vp, ve, flow, silent]],
    ['UniP-2 bh2 = DPM++2M', unipc({ corrector: false }), dpmpp(), [vp, ve, flow]],
    ['LMS-1 = Euler', lms({ order: 1 }), euler(), [vp, ve]],
    ['ancestral DPM2 with eta 0 = DPM2', dpm2Ancestral({ eta: 0 }), dpm2(), [vp, ve]],
    ['EDM without churn = Heun', edmStochastic({ churn: 0 }), heun(), [vp, ve]],
    [
      'SA-Solver 1 with tau 1 = SDE-DPM++1',
      saSolver({ predictorOrder: 1, correctorOrder: 0 }),
      dpmppSde({ order: 1 }),
      [vp, ve],
    ],
    ['SA-Solver with tau 0 = DPM++3 exact', sa3(), dpmpp({ order: 3, type: 'exact' }), [vp, ve, flow]],
    ['interpolated variance, v 0 = DDPM', ddpmInterpolated({ v: 0 }), ddpm(), [vp, ve]],
    ['interpolated variance, v 1 = DDPM large', ddpmInterpolated({ v: 1 }), ddpmLarge(), [vp, ve]],
    ['restart never reached = Heun', restart([{ min: 1e-9, max: 1, repeats: 1, steps: 2 }]), heun(), [ve]],
    ['PLMS and iPNDM agree on one step', plms(), ipndm(), [ratioSchedule('ve', [3, 0])]],
  ];
  for (const [name, a, b, tables] of laws) {
    test(name, () => {
      for (const table of tables) sameRun(a, b, table, table.sigma[0]);
    });
  }

  test('TCD with gamma 0 = DDIM', () => {
    sameRun(tcd({ process: chain, gamma: 0 }), ddim(), vp);
  });

  test('Heun on flow paths is Heun on x / alpha where both are straight', () => {
    // With a constant estimate every method is exact: D itself.
    const constant: HostDenoiser = (x) => x.map(() => 0.5);
    for (const v of traceEnd(flowHeun(), constant, start, flow)) expect(Math.abs(v - 0.5)).toBeLessThan(1e-12);
    for (const v of traceEnd(heun(), constant, start, ve)) expect(Math.abs(v - 0.5)).toBeLessThan(1e-12);
  });
});

function sa3(): Plain {
  return saSolver({ tau: () => 0, predictorOrder: 3, correctorOrder: 0, weights: 'exact' });
}

describe('inversion', () => {
  const sigmas = karrasSigmas({ steps: 20, min: 0.05, max: 20 });
  const table = sigmaSchedule(sigmas);

  test('DDIM inverse with iterations is undone by DDIM', () => {
    const picture = Float64Array.of(0.9, -0.6, 0.1, 0.4);
    const steps = sigmaSchedule(karrasSigmas({ steps: 60, min: 0.05, max: 20 }).slice(0, -1));
    const error = (iterations: number) => {
      const latent = traceEnd(ddimInverse({ iterations }), curved, picture, steps);
      return Math.max(...traceEnd(ddim(), curved, latent, steps).map((v, i) => Math.abs(v - picture[i]!)));
    };
    // A fixed point: each iteration wins a factor of the step size; one leaves the usual inversion error.
    expect(error(1)).toBeGreaterThan(1e-3);
    expect(error(30)).toBeLessThan(1e-9);
  });

  test('EDICT is undone exactly', () => {
    const picture = Float64Array.of(0.9, -0.6, 0.1, 0.4);
    const back = [...trace(edictInverse(), curved, picture, table)].at(-1)!;
    const there = [...trace(edict(), curved, { x: back.x, memory: back.memory, numbers: [] }, table)].at(-1)!;
    // Algebraically exact; 1 / 0.93 for each of 20 steps widens the float64 rounding of latents of size 1e3 and more.
    there.x.forEach((v, i) => {
      expect(Math.abs(v - picture[i]!)).toBeLessThan(1e-6);
    });
    expect(Math.abs(there.x[0]! - there.memory[0]![0]!)).toBeLessThan(1e-6);
  });
});

describe('published numbers of one run', () => {
  // EDM's sampler on Gaussian data (REFERENCE, float64): 35, 63 and 511 evaluations.
  test.each([
    [18, 35, 0.527624637001047],
    [32, 63, 0.5078380114189122],
    [256, 511, 0.50009542467964],
  ])('EDM, %i steps, %i evaluations', (steps, evaluations, expected) => {
    let count = 0;
    const counted: HostDenoiser = (x, at) => {
      count++;
      return gaussian(x, at);
    };
    const end = traceEnd(
      heun(),
      counted,
      Float64Array.of(80),
      sigmaSchedule(karrasSigmas({ steps, min: 0.002, max: 80 })),
    );
    expect(count).toBe(evaluations);
    expect(Math.abs(end[0]! - expected)).toBeLessThan(1e-9);
  });

  test('a custom table is taken as it is', () => {
    const table = customSchedule('ve', { alpha: Float64Array.of(1, 1), sigma: Float64Array.of(2, 0) });
    expect(traceEnd(euler(), gaussian, Float64Array.of(2), table)[0]).toBeCloseTo((2 * 0.25) / 4.25, 12);
  });
});
