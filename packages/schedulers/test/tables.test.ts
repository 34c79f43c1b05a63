import { describe, expect, test } from 'vitest';
import {
  betaSigmas,
  consistencyTimesteps,
  type DiscreteProcess,
  discreteProcess,
  discreteTime,
  edmTime,
  exponentialSigmas,
  flowSchedule,
  fluxMu,
  gridFlowSigmas,
  karrasSigmas,
  leadingTimesteps,
  linspaceTimesteps,
  luSigmas,
  noiseRatioAt,
  scaledLinearBetas,
  shiftFlow,
  shiftFlowByMu,
  sigmaSchedule,
  trailingTimesteps,
  uniformFlowSigmas,
} from '../src/index.js';
import golden from './fixtures/diffusers.json' with { type: 'json' };

interface Golden {
  readonly timesteps: number[];
  readonly sigmas?: number[];
  readonly init_noise_sigma?: number;
}

// diffusers multiplies 1 - beta in float32; with float64 the smallest sigma differs by 1.3e-5.
const sd = discreteProcess(scaledLinearBetas(), { precision: 'float32' });
const clock = discreteTime(sd);

const ratios = (process: DiscreteProcess, times: Float64Array) =>
  Float64Array.from([...times.map((t) => noiseRatioAt(process, t)), 0]);
const times = (sigmas: Float64Array, round = false) =>
  sigmas.slice(0, -1).map((s) => (round ? Math.round(clock({ alpha: 1, sigma: s })) : clock({ alpha: 1, sigma: s })));
const fromTimes = (timesteps: Float64Array) => ({ timesteps, sigmas: ratios(sd, timesteps) });
const fromSigmas = (sigmas: Float64Array, round = false) => ({ timesteps: times(sigmas, round), sigmas });
const between = (timesteps: Float64Array) => ({
  steps: timesteps.length,
  max: noiseRatioAt(sd, timesteps[0]!),
  min: noiseRatioAt(sd, timesteps.at(-1)!),
});
const whole = { min: noiseRatioAt(sd, 0), max: noiseRatioAt(sd, 999) };
const flow = (sigmas: Float64Array) => {
  const table = flowSchedule(sigmas);
  return { timesteps: table.time!.slice(0, -1), sigmas };
};
const twice = (values: Float64Array, tail: readonly number[]) =>
  Float64Array.from([values[0]!, ...[...values.slice(1)].flatMap((v) => [v, v]), ...tail]);

type Made = { readonly timesteps: Float64Array; readonly sigmas?: Float64Array };

/** How each table of the golden file is made with this package; n is the number of steps. */
const makers: readonly (readonly [name: RegExp, make: (n: number, name: string) => Made])[] = [
  [/^DDIM SD leading/, (n) => ({ timesteps: leadingTimesteps(1000, n, { offset: 1 }) })],
  [/^DDIM SD linspace/, (n) => ({ timesteps: linspaceTimesteps(1000, n) })],
  [/^DDIM SD trailing/, (n) => ({ timesteps: trailingTimesteps(1000, n) })],
  [/^EulerDiscrete SD leading/, (n) => fromTimes(leadingTimesteps(1000, n, { offset: 1 }))],
  [/^EulerDiscrete SD linspace/, (n) => fromTimes(linspaceTimesteps(1000, n, { whole: false }))],
  [/^EulerDiscrete SD trailing/, (n) => fromTimes(trailingTimesteps(1000, n))],
  [/^EulerDiscrete SD use_karras/, (n) => fromSigmas(karrasSigmas(between(leadingTimesteps(1000, n, { offset: 1 }))))],
  [
    /^EulerDiscrete SD use_exp/,
    (n) => fromSigmas(exponentialSigmas(between(leadingTimesteps(1000, n, { offset: 1 })))),
  ],
  [/^EulerDiscrete SD use_beta/, (n) => fromSigmas(betaSigmas(between(leadingTimesteps(1000, n, { offset: 1 }))))],
  [/^DPM\+\+2M SD karras/, (n) => fromSigmas(karrasSigmas({ steps: n, ...whole }), true)],
  [/^DPM\+\+2M SD lu/, (n) => fromSigmas(luSigmas({ steps: n, ...whole }), true)],
  [/^(UniPC SD|DPM\+\+2M SD n)/, (n) => fromTimes(linspaceTimesteps(1000, n, { dropLast: true }))],
  [/^LMS SD/, (n) => fromTimes(linspaceTimesteps(1000, n, { whole: false }))],
  [/^PNDM SD/, (n) => pndmTimes(leadingTimesteps(1000, n, { offset: 1 }))],
  [/^Heun SD/, (n) => heunTable(linspaceTimesteps(1000, n, { whole: false }))],
  [/^KDPM2 SD/, (n) => kdpm2Table(linspaceTimesteps(1000, n, { whole: false }))],
  [/^EDMEuler/, (n) => edmTable(karrasSigmas({ steps: n, min: 0.002, max: 80 }))],
  [/^FlowMatchEuler shift=1/, (n) => flow(gridFlowSigmas(n))],
  [/^FlowMatchEuler SD3/, (n) => flow(shiftFlow(gridFlowSigmas(n, { endShift: 3 }), 3))],
  [/^FLUX dev/, (n, name) => flow(shiftFlowByMu(uniformFlowSigmas(n), fluxMu(Number(/seq=(\d+)/.exec(name)![1]))))],
  [/^FLUX schnell/, (n) => flow(uniformFlowSigmas(n))],
  [/^(LCM|TCD) SD/, (n) => ({ timesteps: consistencyTimesteps(n) })],
];

/** PLMS evaluates the second time twice. */
function pndmTimes(t: Float64Array): Made {
  return { timesteps: Float64Array.from([t[0]!, t[1]!, ...t.slice(1)]) };
}

/** The golden lists one row for each evaluation. */
function heunTable(t: Float64Array): Made {
  return { timesteps: twice(t, []), sigmas: twice(ratios(sd, t).slice(0, -1), [0]) };
}

/** The evaluations between the rows are at the geometric mean of their sigmas. */
function kdpm2Table(t: Float64Array): Made {
  const sigmas = ratios(sd, t).slice(0, -1);
  const timesteps = [t[0]!];
  for (let i = 1; i < t.length; i++) {
    timesteps.push(clock({ alpha: 1, sigma: Math.sqrt(sigmas[i - 1]! * sigmas[i]!) }), t[i]!);
  }
  return { timesteps: Float64Array.from(timesteps), sigmas: twice(sigmas, [0, 0, 0]) };
}

function edmTable(sigmas: Float64Array): Made {
  const table = sigmaSchedule(sigmas);
  return { timesteps: sigmas.slice(0, -1).map((sigma) => edmTime({ alpha: 1, sigma })), sigmas: table.sigma };
}

describe('tables of diffusers', () => {
  const tables = golden.tables as Record<string, Golden>;
  for (const [name, expected] of Object.entries(tables)) {
    test(name, () => {
      const make = makers.find(([pattern]) => pattern.test(name))?.[1];
      const made = make!(Number(/n=(\d+)/.exec(name)![1]), name);
      // float32 values of theirs: 6e-8 each, a few operations. Times of theirs are rounded to 6 decimals, and those
      // found on a logarithmic scale lose another digit to float32 sigmas.
      close(made.timesteps, expected.timesteps, 1e-6, 2e-4);
      if (expected.sigmas) close(made.sigmas!, expected.sigmas, 1e-6, 0);
    });
  }
});

function close(got: Float64Array, expected: readonly number[], relative: number, absolute: number): void {
  expect(got.length).toBe(expected.length);
  expected.forEach((e, i) => {
    expect(Math.abs(got[i]! - e), `entry ${i}: ${got[i]} for ${e}`).toBeLessThanOrEqual(
      relative * Math.abs(e) + absolute,
    );
  });
}
