import type { NoiseLevel } from '@mezzotint/core';
import type { NoiseSource } from './noise/noise-source.js';
import { checkPair } from './run.js';
import { type NoiseSchedule, noiseRatio, type ScheduleKind } from './schedules/schedule.js';
import type { Solver, SolverContext, State, StepResult } from './solver.js';
import { float64Space } from './spaces/float64.js';

/** An estimate of x0 on plain arrays; it returns a new array. */
export type HostDenoiser = (x: Float64Array, at: NoiseLevel) => Float64Array;

/**
 * Runs a solver on plain float64 arrays, without TensorFlow.js: for proofs, toy data and plots. Yields every step.
 *
 * @param from x at the table's first level, or a state that a step of another trace ended in
 * @throws InvalidArgumentError when solver and table do not fit
 */
export function* trace<K extends ScheduleKind>(
  solver: Solver<K, 'estimate'>,
  model: HostDenoiser,
  from: Float64Array | State<Float64Array>,
  table: NoiseSchedule<NoInfer<K>>,
  { noise }: { readonly noise?: NoiseSource } = {},
): Generator<StepResult<Float64Array>, void, undefined> {
  checkPair(solver, table, noise);
  let state: State<Float64Array> = from instanceof Float64Array ? { x: from, memory: [], numbers: [] } : from;
  const means: SolverContext<Float64Array> = {
    space: float64Space,
    table,
    estimate: model,
    estimateWithVariance: (y, at) => ({ x0: model(y, at), interpolation: new Float64Array(y.length) }),
    noise: (a, b) => float64Space.fromHost(noise!.draw([state.x.length], noiseRatio(a), noiseRatio(b))),
  };
  const count = solver.steps(table);
  for (let i = 0; i < count; i++) {
    const advance = solver.step(i, state, means);
    yield advance;
    if (advance.done) return;
    state = advance;
  }
}

/** The end point of `trace`. */
export function traceEnd<K extends ScheduleKind>(
  solver: Solver<K, 'estimate'>,
  model: HostDenoiser,
  x: Float64Array,
  table: NoiseSchedule<NoInfer<K>>,
  options: { readonly noise?: NoiseSource } = {},
): Float64Array {
  let end = x;
  for (const step of trace(solver, model, x, table, options)) end = step.x;
  return end;
}
