import { InvalidArgumentError } from '@mezzotint/core';
import { levelAt, levelOf, noiseRatio } from '../schedules/schedule.js';
import { DIFFUSION, type Solver, type SolverContext, type State, type StepResult, solver } from '../solver.js';
import {
  type DpmStep,
  dpmSolver1,
  dpmSolver2,
  dpmSolver3,
  firstStage,
  lastNoisyRow,
  needsTwoLevels,
} from './dpm-fast.js';
import { needsSignal, noiseOf } from './parts.js';

/** How the step size is controlled. */
export interface DpmAdaptiveOptions {
  /** 2 compares orders 1 and 2, 3 compares 2 and 3; 3. */
  readonly order?: 2 | 3;
  readonly relativeTolerance?: number;
  readonly absoluteTolerance?: number;
  /** First step in t = -log(sigma / alpha). */
  readonly initialStep?: number;
  /** A step is taken when its factor is at least this. */
  readonly safety?: number;
  /** Weights of the proportional, integral and derivative parts of the controller. */
  readonly controller?: readonly [p: number, i: number, d: number];
}

/**
 * DPM-Solver with adaptive steps: of the table only its ends are used; the steps between follow an error estimate, to the
 * last row with noise. k-diffusion, sample_dpm_adaptive. A step of the run is an accepted one; each attempt costs `order`
 * evaluations.
 */
export function dpmAdaptive(options: DpmAdaptiveOptions = {}): Solver<'vp' | 've', 'estimate'> {
  const {
    order = 3,
    relativeTolerance = 0.05,
    absoluteTolerance = 0.0078,
    initialStep = 0.05,
    safety = 0.81,
    controller: [pc, ic, dc] = [0, 1, 0],
  } = options;
  if (!(relativeTolerance > 0 && absoluteTolerance > 0 && initialStep > 0)) {
    throw new InvalidArgumentError('dpm-adaptive', 'tolerances and the initial step must be positive');
  }
  // Exponents of the inverse errors: Soederlind's PID controller.
  const [b1, b2, b3] = [(pc + ic + dc) / order, -(pc + 2 * dc) / order, dc / order];
  return solver({
    name: 'dpm-adaptive',
    kinds: DIFFUSION,
    problems: (levels) => [...needsSignal(levels), ...needsTwoLevels(levels)],
    steps: () => Number.POSITIVE_INFINITY,
    // Memory: the lower-order solution of the last step. Numbers: t, h and the last inverse errors.
    step<V>(_i: number, { x, memory, numbers }: State<V>, { space, table, estimate }: SolverContext<V>): StepResult<V> {
      const start = levelAt(table, 0);
      const final = levelAt(table, lastNoisyRow(table));
      const end = -Math.log(noiseRatio(final));
      const step: DpmStep<V> = {
        space,
        kind: table.kind,
        noiseAt: (y, where) => noiseOf(space, y, estimate(y, where), where),
      };
      const from = numbers[0] ?? -Math.log(noiseRatio(start));
      const level = numbers.length === 0 ? start : levelOf(table.kind, Math.exp(-from));
      const x0 = estimate(x, level);
      const eps = noiseOf(space, x, x0, level);
      const previous = memory[0] ?? x;
      let h = numbers[1] ?? initialStep;
      let errors = numbers.slice(2);
      for (;;) {
        const t = Math.min(end, from + h);
        const to = t === end ? final : levelOf(table.kind, Math.exp(-t));
        const stage = firstStage(step, x, eps, level, to, order === 2 ? 1 / 2 : 1 / 3);
        const low =
          order === 2 ? dpmSolver1(step, x, eps, level, to) : dpmSolver2(step, x, eps, level, to, 1 / 3, stage);
        const high =
          order === 2 ? dpmSolver2(step, x, eps, level, to, 1 / 2, stage) : dpmSolver3(step, x, eps, level, to, stage);
        const error = space.scaledError(
          space.combine([1, low], [-1, high]),
          low,
          previous,
          absoluteTolerance,
          relativeTolerance,
        );
        const inverse = 1 / (error + 1e-8);
        errors = errors.length === 0 ? [inverse, inverse, inverse] : [inverse, errors[1]!, errors[2]!];
        const factor = 1 + Math.atan(errors[0]! ** b1 * errors[1]! ** b2 * errors[2]! ** b3 - 1);
        h *= factor;
        if (factor < safety) continue;
        const state = [t, h, errors[0]!, errors[0]!, errors[1]!];
        return { x: high, x0, level, memory: [low], numbers: state, done: t >= end - 1e-5 };
      }
    },
  });
}
