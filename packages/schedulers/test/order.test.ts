import { describe, expect, test } from 'vitest';
import {
  convertSchedule,
  deis,
  dpm2Ancestral,
  dpmpp,
  dpmpp2sAncestral,
  dpmppSde,
  dpmppSdeSinglestep,
  dpmSolver,
  edmStochastic,
  eulerAncestral,
  exponentialSigmas,
  flowHeun,
  lms,
  type NoiseSchedule,
  type NoiseSource,
  ratioSchedule,
  type ScheduleKind,
  type Solver,
  saSolver,
  solvers,
  traceEnd,
  unipc,
} from '../src/index.js';
import { exact, gaussian } from './gaussian.js';

type Plain = Solver<ScheduleKind, 'estimate'>;

const silence: NoiseSource = { draw: () => new Float32Array(1), save: () => null, restore: () => {} };

/** From ratio 80 to 0.5, so that every step is a regular one. */
function between(steps: number, kind: ScheduleKind): NoiseSchedule {
  return ratioSchedule(kind, exponentialSigmas({ steps: steps + 1, min: 0.5, max: 80 }).slice(0, -1));
}

/** Orders between 120, 240 and 480 steps, from the error at the exactly known end. */
function observed(solver: Plain, kind: ScheduleKind): number {
  const errors = [120, 480].map((steps) => {
    const table = between(steps, kind);
    const end =
      traceEnd(solver, gaussian, Float64Array.of(80 * table.alpha[0]!), table, { noise: silence })[0]! /
      table.alpha[steps]!;
    return Math.abs(end - exact(80, 80, 0.5));
  });
  return Math.log2(errors[0]! / errors[1]!) / 2;
}

const deterministic: Partial<Record<keyof typeof solvers, Plain>> = {
  'euler-ancestral': eulerAncestral({ eta: 0 }),
  'edm-stochastic': edmStochastic({ churn: 0 }),
  'dpm2-ancestral': dpm2Ancestral({ eta: 0 }),
  'dpmpp-2m-sde': dpmppSde({ eta: 0 }),
  'dpmpp-3m-sde': dpmppSde({ eta: 0, order: 3 }),
  'dpmpp-2s-ancestral': dpmpp2sAncestral({ eta: 0 }),
  'dpmpp-sde': dpmppSdeSinglestep({ eta: 0 }),
  'sa-solver': saSolver({ tau: () => 0 }),
};

/** Adaptive, backwards, or without an ODE of their own. */
const without = /^(dpm-adaptive|.*inverse|edict|ddpm.*|consistency|pc-.*|dpm-solver-2m-sde)$/;

describe('the registry tells the observed order', () => {
  for (const [name, entry] of Object.entries(solvers)) {
    if (without.test(name)) continue;
    const solver = deterministic[name as keyof typeof solvers] ?? (entry.create() as Plain);
    test(name, () => {
      // The error's leading term outweighs the next by the number of steps, 120 and more: within 0.25 of a whole number.
      // What is far from it is of another order.
      for (const kind of entry.kinds) {
        const order = observed(solver, kind);
        expect(Math.abs(order - entry.order), `${kind}: ${order}`).toBeLessThan(0.25);
      }
    });
  }
});

describe('orders of options', () => {
  const cases: readonly (readonly [string, Plain, number])[] = [
    ['lms, order 2', lms({ order: 2 }), 2],
    ['lms, order 3', lms({ order: 3 }), 3],
    ['deis, order 4', deis({ order: 4 }), 4],
    ['dpmpp, order 3, exact', dpmpp({ order: 3, type: 'exact' }), 3],
    ['dpm-solver, order 3, exact', dpmSolver({ order: 3, type: 'exact' }), 3],
    ['unipc, order 2 bh1, full order to the end', unipc({ type: 'bh1', lowerOrderFinal: false }), 3],
    ['unipc, order 3, full order to the end', unipc({ order: 3, lowerOrderFinal: false }), 4],
    ['unipc, order 3, no corrector', unipc({ order: 3, corrector: false, lowerOrderFinal: false }), 3],
    [
      'sa-solver, tau 0, orders 2 and 3, full order to the end',
      saSolver({ tau: () => 0, predictorOrder: 2, correctorOrder: 3, weights: 'exact', lowerOrderFinal: false }),
      3,
    ],
    ['flow-heun', flowHeun(), 2],
  ];
  for (const [name, solver, order] of cases) {
    test(name, () => {
      const kind = solver.kinds[solver.kinds.length - 1]!;
      const got = observed(solver, kind);
      expect(Math.abs(got - order), `observed ${got}`).toBeLessThan(0.25);
    });
  }
});

describe('the form of the table does not change the solution', () => {
  // Multistep, lambda-based and x/alpha-based solvers see only sigma / alpha: a VP or flow table is the same run scaled.
  for (const name of ['ddim', 'dpmpp-2m', 'unipc-3', 'heun', 'lms', 'deis-3', 'plms', 'dpm2'] as const) {
    test(name, () => {
      const solver = solvers[name].create() as Plain;
      const ve = between(12, 've');
      const end = traceEnd(solver, gaussian, Float64Array.of(80), ve)[0]!;
      for (const kind of solver.kinds) {
        const table = convertSchedule(ve, kind);
        const other = traceEnd(solver, gaussian, Float64Array.of(80 * table.alpha[0]!), table)[0]! / table.alpha[12]!;
        // float64 rounding of a dozen steps.
        expect(Math.abs(other - end)).toBeLessThan(1e-11 * Math.abs(end));
      }
    });
  }
});
