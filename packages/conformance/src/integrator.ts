import type { HostDenoiser, NoiseSchedule, NoiseSource, ScheduleKind, Solver } from '@mezzotint/schedulers';
import { traceEnd } from '@mezzotint/schedulers';

/**
 * Anything that goes from the first row of a table to its last: takes x at the first level, gives x at the last, a new
 * array. `model` estimates x0, `noise` draws standard normals. On tensors or on arrays, in our packages or in none.
 */
export type Integrate = (
  model: HostDenoiser,
  x: Float64Array,
  table: NoiseSchedule,
  noise: NoiseSource,
) => Float64Array | Promise<Float64Array>;

/** What somebody says of a solver, to be checked. */
export interface SolverClaims {
  readonly name: string;
  readonly integrate: Integrate;
  /** The kinds of table it works on. */
  readonly kinds: readonly ScheduleKind[];
  /** Order of convergence to the probability-flow ODE; left out for stochastic solvers and those that have none. */
  readonly order?: number | undefined;
  /** True when it draws noise, and has the marginals of the process for it. */
  readonly stochastic?: boolean | undefined;
  /**
   * False for a solver that does not end exactly on data of one point: it stops at the last row with noise, or its step
   * is not exact for a constant estimate. True when left out.
   */
  readonly reachesPoint?: boolean | undefined;
  /** Relative precision of its arithmetic: 1e-9 (float64, default), 1e-4 for one on float32 tensors. */
  readonly precision?: number | undefined;
}

/** The claims of a `Solver` of @mezzotint/schedulers (yours or ours), run in float64; a stochastic one has no order. */
export function claimsOf<K extends ScheduleKind>(
  solver: Solver<K, 'estimate'>,
  { order, reachesPoint }: Pick<SolverClaims, 'order' | 'reachesPoint'> = {},
): SolverClaims {
  return {
    name: solver.name,
    integrate: (model, x, table, noise) =>
      traceEnd(solver, model, x, table as NoiseSchedule<NoInfer<K>>, solver.stochastic ? { noise } : {}),
    kinds: solver.kinds,
    stochastic: solver.stochastic,
    reachesPoint,
    ...(!solver.stochastic && order !== undefined && { order }),
  };
}
