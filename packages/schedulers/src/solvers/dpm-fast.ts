import type { NoiseLevel } from '@mezzotint/core';
import { InvalidArgumentError } from '@mezzotint/core';
import { levelAt, levelOf, type NoiseSchedule, noiseRatio, type ScheduleKind } from '../schedules/schedule.js';
import type { Solver, SolverContext, State, StepResult } from '../solver.js';
import { DIFFUSION, solver } from '../solver.js';
import type { Space } from '../spaces/space.js';
import { needsSignal, noiseOf } from './parts.js';

/**
 * One singlestep DPM-Solver step in t = -log(sigma / alpha), from x at `from` to `to`, given eps there. `order` 1 needs no
 * evaluation, 2 one, 3 two. Lu et al. 2022 (arXiv 2206.00927), algorithms 1 and 2 of section 3.3.
 */
export interface DpmStep<V> {
  readonly space: Space<V>;
  readonly kind: ScheduleKind;
  /** eps of the network at a point. */
  noiseAt(x: V, at: NoiseLevel): V;
}

/** y' = y - r' expm1(h) eps: order 1. */
export function dpmSolver1<V>({ space }: DpmStep<V>, x: V, eps: V, from: NoiseLevel, to: NoiseLevel): V {
  // Finite for every pair: in y = x / alpha it is y + (r' - r) eps.
  const slope = to.alpha * (noiseRatio(to) - noiseRatio(from));
  return space.combine([to.alpha / from.alpha, x], [slope, eps]);
}

/** Order 2 with an evaluation at the share `r1` of the way in t; also returns that eps. */
export function dpmSolver2<V>(
  step: DpmStep<V>,
  x: V,
  eps: V,
  from: NoiseLevel,
  to: NoiseLevel,
  r1 = 1 / 2,
  known?: V,
): V {
  const { space } = step;
  const eps1 = known ?? firstStage(step, x, eps, from, to, r1);
  const c = (to.alpha * noiseRatio(to) * Math.expm1(stepSize(from, to))) / (2 * r1);
  return space.combine([1, dpmSolver1(step, x, eps, from, to)], [c, eps], [-c, eps1]);
}

/** Order 3 with evaluations at 1/3 and 2/3 of the way. */
export function dpmSolver3<V>(step: DpmStep<V>, x: V, eps: V, from: NoiseLevel, to: NoiseLevel, known?: V): V {
  const { space } = step;
  const [r1, r2] = [1 / 3, 2 / 3];
  const h = stepSize(from, to);
  const eps1 = known ?? firstStage(step, x, eps, from, to, r1);
  const second = part(step.kind, from, h, r2);
  const c1 = second.alpha * noiseRatio(second) * (r2 / r1) * (Math.expm1(r2 * h) / (r2 * h) - 1);
  const x2 = space.combine([1, dpmSolver1(step, x, eps, from, second)], [c1, eps], [-c1, eps1]);
  const eps2 = step.noiseAt(x2, second);
  const c2 = ((to.alpha * noiseRatio(to)) / r2) * (Math.expm1(h) / h - 1);
  return space.combine([1, dpmSolver1(step, x, eps, from, to)], [c2, eps], [-c2, eps2]);
}

/** eps at the share r of the way, reached by a first-order step. */
export function firstStage<V>(step: DpmStep<V>, x: V, eps: V, from: NoiseLevel, to: NoiseLevel, r: number): V {
  const there = part(step.kind, from, stepSize(from, to), r);
  return step.noiseAt(dpmSolver1(step, x, eps, from, there), there);
}

function part(kind: ScheduleKind, from: NoiseLevel, h: number, share: number): NoiseLevel {
  return levelOf(kind, noiseRatio(from) * Math.exp(-share * h));
}

function stepSize(from: NoiseLevel, to: NoiseLevel): number {
  return Math.log(noiseRatio(from) / noiseRatio(to));
}

/** The last row with noise: these solvers work in log sigma and end there, or take one last step to the clean row. */
export function lastNoisyRow({ sigma }: NoiseSchedule): number {
  let row = sigma.length - 1;
  while (row > 0 && sigma[row] === 0) row--;
  return row;
}

/** What is wrong with a table that has no two levels of noise: these solvers would end where they begin. */
export function needsTwoLevels(levels: NoiseSchedule): string[] {
  if (lastNoisyRow(levels) > 0) return [];
  return ['its schedule has one level of noise, where it would end at once: give it at least 2 steps'];
}

/**
 * DPM-Solver-fast: of the table only its ends are used; singlestep orders 3, 3, ..., 2, 1 with a given number of
 * evaluations, evenly in log sigma, to the last row with noise. k-diffusion, sample_dpm_fast.
 *
 * @param options evaluations, in all; by default the number of steps of the table
 */
export function dpmFast({ evaluations }: { readonly evaluations?: number } = {}): Solver<'vp' | 've', 'estimate'> {
  if (evaluations !== undefined && !(Number.isInteger(evaluations) && evaluations > 0)) {
    throw new InvalidArgumentError('dpm-fast', `evaluations must be a positive integer, got ${evaluations}`);
  }
  const orders = (table: NoiseSchedule) => fastOrders(evaluations ?? table.alpha.length - 1);
  return solver({
    name: 'dpm-fast',
    kinds: DIFFUSION,
    problems: (levels) => [...needsSignal(levels), ...needsTwoLevels(levels)],
    steps: (table) => orders(table).length,
    step<V>(i: number, { x }: State<V>, { space, table, estimate }: SolverContext<V>): StepResult<V> {
      const list = orders(table);
      const [start, end] = [levelAt(table, 0), levelAt(table, lastNoisyRow(table))];
      const [a, b] = [Math.log(noiseRatio(start)), Math.log(noiseRatio(end))];
      const at = (k: number) => {
        if (k === 0) return start;
        return k === list.length ? end : levelOf(table.kind, Math.exp(a + ((b - a) * k) / list.length));
      };
      const [level, to] = [at(i), at(i + 1)];
      const step: DpmStep<V> = {
        space,
        kind: table.kind,
        noiseAt: (y, where) => noiseOf(space, y, estimate(y, where), where),
      };
      const x0 = estimate(x, level);
      const eps = noiseOf(space, x, x0, level);
      const solve = [dpmSolver1<V>, dpmSolver2<V>, dpmSolver3<V>][list[i]! - 1]!;
      return { x: solve(step, x, eps, level, to), x0, level, memory: [], numbers: [] };
    },
  });
}

/** Orders whose evaluations sum to the number given. */
export function fastOrders(evaluations: number): (1 | 2 | 3)[] {
  const m = Math.floor(evaluations / 3) + 1;
  const rest = evaluations % 3;
  const threes = (count: number) => Array<3>(count).fill(3);
  return rest === 0 ? [...threes(m - 2), 2, 1] : [...threes(m - 1), rest as 1 | 2];
}
