import { describe, expect, test } from 'vitest';
import {
  checkPair,
  dpm2,
  dpm2Ancestral,
  dpmAdaptive,
  dpmFast,
  dpmpp2m,
  dpmpp2sAncestral,
  dpmppSde,
  dpmppSdeSinglestep,
  euler,
  eulerAncestral,
  exponentialSigmas,
  heun,
  karrasSigmas,
  lms,
  type NoiseSource,
  polyexponentialSigmas,
  type ScheduleKind,
  type Solver,
  sigmaSchedule,
  traceEnd,
  vpSigmas,
} from '../src/index.js';
import golden from './fixtures/k-diffusion.json' with { type: 'json' };
import { exact, gaussian } from './gaussian.js';

const range = { min: 0.002, max: 80 };
const x0 = Float64Array.from(golden.x0);

describe('sigmas of k-diffusion, float64', () => {
  // Both sides are float64; they differ by the rounding of a few pow and exp.
  for (const steps of [5, 10, 18, 35]) {
    test(`n = ${steps}`, () => {
      const sigmas = golden.sigmas as Record<string, number[]>;
      close(karrasSigmas({ steps, ...range }), sigmas[`karras n=${steps} 0.002..80 rho7`]!);
      close(exponentialSigmas({ steps, ...range }), sigmas[`exponential n=${steps} 0.002..80`]!);
      close(vpSigmas({ steps }), sigmas[`vp n=${steps}`]!);
      close(polyexponentialSigmas({ steps, rho: 2, ...range }), sigmas[`polyexponential n=${steps} rho=2`]!);
    });
  }
});

const zero: NoiseSource = { draw: (shape) => new Float32Array(shape[0]!), save: () => null, restore: () => {} };

const solvers: Readonly<Record<string, Solver<ScheduleKind, 'estimate'>>> = {
  euler: euler(),
  heun: heun(),
  dpm_2: dpm2(),
  lms4: lms(),
  dpmpp_2m: dpmpp2m({ lowerOrderFinal: false }),
  'euler_ancestral eta0': eulerAncestral({ eta: 0 }),
  'dpm_2_ancestral eta0': dpm2Ancestral({ eta: 0 }),
  'dpmpp_2s_ancestral eta0': dpmpp2sAncestral({ eta: 0 }),
  'dpmpp_sde eta0': dpmppSdeSinglestep({ eta: 0 }),
  'dpmpp_2m_sde eta0 midpoint': dpmppSde({ eta: 0, lowerOrderFinal: false }),
  'dpmpp_2m_sde eta0 heun': dpmppSde({ eta: 0, type: 'heun', lowerOrderFinal: false }),
  'dpmpp_3m_sde eta0': dpmppSde({ eta: 0, order: 3, lowerOrderFinal: false }),
  // The stochastic ones with noise that is 0.
  'euler_ancestral eta1 zero-noise': eulerAncestral(),
  'dpmpp_sde eta1 zero-noise': dpmppSdeSinglestep(),
  'dpmpp_2m_sde eta1 zero-noise': dpmppSde({ lowerOrderFinal: false }),
  'dpmpp_3m_sde eta1 zero-noise': dpmppSde({ order: 3, lowerOrderFinal: false }),
  'dpmpp_2s_ancestral eta1 zero-noise': dpmpp2sAncestral(),
  'dpm_2_ancestral eta1 zero-noise': dpm2Ancestral(),
};

describe('solvers that choose their own levels', () => {
  const results = golden.results as unknown as Record<string, number[]>;
  const ends = sigmaSchedule([80, 0.002]);
  test('dpm_fast, 20 evaluations', () => {
    close(traceEnd(dpmFast({ evaluations: 20 }), gaussian, x0, ends), results['dpm_fast n=20']!);
  });
  test('dpm_adaptive with one level of noise is refused: it would end where it begins, and the picture be black', () => {
    const one = sigmaSchedule([80, 0]);
    expect(() => checkPair(dpmAdaptive(), one)).toThrow(/one level of noise.*give it at least 2 steps/);
    expect(() => checkPair(dpmFast(), one)).toThrow(/one level of noise.*give it at least 2 steps/);
    expect(() => checkPair(dpmFast(), sigmaSchedule([80, 1, 0]))).not.toThrow();
    expect(() => checkPair(dpmAdaptive(), sigmaSchedule([80, 1, 0]))).not.toThrow();
  });
  for (const order of [2, 3] as const) {
    test(`dpm_adaptive, order ${order}`, () => {
      close(traceEnd(dpmAdaptive({ order }), gaussian, x0, ends), results[`dpm_adaptive order${order}`]!);
    });
  }
});

describe('Gaussian data, 80 to 0, float64', () => {
  for (const [name, solver] of Object.entries(solvers)) {
    for (const steps of [10, 20]) {
      test(`${name}, Karras n = ${steps}`, () => {
        const expected = (golden.results as unknown as Record<string, Record<string, number[]>>)[name]![
          `karras n=${steps} to 0`
        ]!;
        close(
          traceEnd(solver, gaussian, x0, sigmaSchedule(karrasSigmas({ steps, ...range })), { noise: zero }),
          expected,
        );
      });
    }
  }
});

describe('observed order, 80 to 0.5, exponential sigmas', () => {
  for (const name of Object.keys(golden.convergence)) {
    const solver = solvers[name]!;
    test(name, () => {
      const expected = (golden.convergence as Record<string, { errs: number[] }>)[name]!;
      const errors = [20, 40, 80, 160].map((steps) => {
        const sigmas = exponentialSigmas({ steps: steps + 1, min: 0.5, max: 80 }).slice(0, -1);
        const end = traceEnd(solver, gaussian, x0, sigmaSchedule(sigmas));
        return Math.max(...end.map((x, i) => Math.abs(x - exact(x0[i]!, 80, 0.5))));
      });
      // Errors down to 3e-5 of numbers near 1 in float64: 1e-9 of each is far above their rounding.
      close(errors, expected.errs);
    });
  }
});

/** Float64 both sides: what is left is rounding, below 1e-9 relative. */
function close(got: ArrayLike<number>, expected: readonly number[]): void {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    expect(Math.abs(got[i]! - expected[i]!)).toBeLessThanOrEqual(1e-9 * Math.abs(expected[i]!));
  }
}
