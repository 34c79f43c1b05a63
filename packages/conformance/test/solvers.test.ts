import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs';
import { consistency, type ScheduleKind, type Solver, type SolverName, solvers, traceEnd } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  assertConforms,
  certifySolver,
  checkResumes,
  claimsOf,
  convergence,
  marginalVariance,
  report,
  type SolverClaims,
  tableToClean,
  threePeaks,
} from '../src/index.js';

beforeAll(() => tf.setBackend('cpu'));

/** Solvers that are no map from noise to data of a Denoiser; each has its own test below or in schedulers. */
const elsewhere: readonly SolverName[] = ['ddpm-learned', 'ddim-inverse', 'edict-inverse', 'consistency'];

/** What is not claimed of some, and why. */
const exceptions: Partial<Record<SolverName, Partial<SolverClaims>>> = {
  // Takes the eps of its second picture at the level that the first has left.
  edict: { reachesPoint: false },
  // Its predictor is the discretised reverse SDE, exact in the limit only.
  'pc-vp': { reachesPoint: false },
  // They stop at the last row with noise; the second chooses its steps by a tolerance.
  'dpm-fast': { reachesPoint: false },
  'dpm-adaptive': { reachesPoint: false, order: undefined },
};

describe('every solver of the registry conforms to what the registry says', () => {
  for (const [name, entry] of Object.entries(solvers)) {
    if (elsewhere.includes(name as SolverName)) continue;
    const create = entry.create as () => Solver<ScheduleKind, 'estimate'>;
    test(name, async () => {
      const claims = { ...claimsOf(create(), { order: entry.order }), ...exceptions[name as SolverName] };
      assertConforms(await certifySolver({ ...claims, name }));
      for (const kind of entry.kinds) assertConforms(report(name, [await checkResumes(create, kind)]));
    });
  }
});

test('dpm-adaptive is as exact as its tolerance asks', async () => {
  const { integrate } = claimsOf(solvers['dpm-adaptive'].create());
  const { errors } = await convergence(integrate, 've', { steps: [24, 48] });
  // Its default tolerances are 0.05 and 0.0078 a step; it takes the table's ends only.
  expect(errors[0]).toBe(errors[1]);
  expect(errors[0]).toBeLessThan(0.05);
});

test('multistep consistency sampling of an exact consistency function has the marginals of the process', async () => {
  // f(x, t) is the end of the ODE from x; on normal data it is linear, so the variance comes from weights.
  const clean = { alpha: 1, sigma: 0 };
  for (const kind of ['vp', 've', 'flow'] as const) {
    const { found, exact, by } = await marginalVariance(
      (_, x, table, noise) => traceEnd(consistency(), (y, at) => normalEnd(y, at, clean), x, table, { noise }),
      kind,
      12,
    );
    expect(by).toBe('weights');
    expect(Math.abs(found / exact - 1)).toBeLessThan(1e-9);
  }
});

function normalEnd(x: Float64Array, from: { alpha: number; sigma: number }, to: { alpha: number; sigma: number }) {
  const spread = ({ alpha, sigma }: typeof from) => Math.hypot(sigma, 0.5 * alpha);
  return x.map((v) => (v * spread(to)) / spread(from));
}

test('going backwards: DDIM of an inverted picture is near it, closer with more steps', () => {
  const errors: number[] = [];
  for (const steps of [100, 200]) {
    const table = tableToClean('vp', steps);
    const picture = Float64Array.from([-1.1, -0.4, 0.3, 0.9]);
    const noise = traceEnd(solvers['ddim-inverse'].create(), threePeaks.denoise, picture, table);
    const again = traceEnd(solvers.ddim.create(), threePeaks.denoise, noise, table);
    errors.push(Math.max(...again.map((v, i) => Math.abs(v - picture[i]!))));
  }
  expect(errors[0]).toBeLessThan(0.2);
  expect(errors[1]! / errors[0]!).toBeLessThan(0.6); // first order halves it
});
