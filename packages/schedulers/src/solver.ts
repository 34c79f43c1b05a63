import type { NoiseLevel } from '@mezzotint/core';
import { levelAt, type NoiseSchedule, type ScheduleKind } from './schedules/schedule.js';
import type { Space } from './spaces/space.js';

/** What a solver's step may use: arithmetic, the table, the network and noise. */
export interface SolverContext<V> {
  readonly space: Space<V>;
  readonly table: NoiseSchedule;
  /** The estimate of x0 from x at a noise level; one evaluation of the network. */
  estimate(x: V, at: NoiseLevel): V;
  /** The same with the learned share of the variance, for solvers that need `variance`. */
  estimateWithVariance(x: V, at: NoiseLevel): { readonly x0: V; readonly interpolation: V };
  /** Standard normal noise for the way from one level to another. */
  noise(from: NoiseLevel, to: NoiseLevel): V;
}

/** Where a run stands between two steps: all that the next step depends on beside the table. */
export interface State<V> {
  readonly x: V;
  /** What a multistep method remembers: earlier estimates or slopes, newest first. */
  readonly memory: readonly V[];
  /** Numbers that it remembers, for example an adaptive step size. */
  readonly numbers: readonly number[];
}

/** A step's end: the next state and the estimate of x0 that led there. */
export interface StepResult<V> extends State<V> {
  readonly x0: V;
  /** The level at which x0 was estimated. */
  readonly level: NoiseLevel;
  /** True when an adaptive solver has arrived. */
  readonly done?: boolean;
}

/** What a solver asks of the network: the estimate of x0, or that with a learned variance. */
export type Need = 'estimate' | 'variance';

/**
 * A way of going from the first row of a table to its last. The step is a pure function of the state, so that a run
 * can be saved between any two steps, and generic in its space, so that it runs on tensors and on arrays.
 */
export interface Solver<K extends ScheduleKind = ScheduleKind, N extends Need = Need> {
  readonly name: string;
  /** The kinds of table on which it makes sense. */
  readonly kinds: readonly K[];
  readonly needs: N;
  /** True when it asks for noise. */
  readonly stochastic: boolean;
  /** Number of steps on a table; Infinity when it is not known in advance. */
  steps(table: NoiseSchedule): number;
  /**
   * The level of the x that step i takes. Absent where steps do not follow the rows one by one: such a run begins in the
   * middle on a table of the rows that are left.
   */
  level?(i: number, table: NoiseSchedule): NoiseLevel;
  /** What is wrong with a table beside its kind; empty when it can be used. */
  problems(table: NoiseSchedule): readonly string[];
  /** Step number i. */
  step<V>(i: number, state: State<V>, means: SolverContext<V>): StepResult<V>;
}

/** Fills in what most solvers share: every kind of table, no noise, one step for each row but the last. */
export function solver<K extends ScheduleKind = ScheduleKind>(
  own: Partial<Omit<Solver<K, 'estimate'>, 'needs'>> & Pick<Solver<K, 'estimate'>, 'name' | 'kinds' | 'step'>,
): Solver<K, 'estimate'> {
  const rows = own.steps ? {} : { steps: rowSteps, level: rowLevel };
  return { stochastic: false, steps: rowSteps, problems: () => [], ...rows, ...own, needs: 'estimate' };
}

/** One step for each row but the last. */
export function rowSteps(table: NoiseSchedule): number {
  return table.alpha.length - 1;
}

/** Step i takes x at row i. */
export function rowLevel(i: number, table: NoiseSchedule): NoiseLevel {
  return levelAt(table, i);
}

/** Every kind of table. */
export const ANY: readonly ScheduleKind[] = ['vp', 've', 'flow'];
/** Tables whose every row has signal (alpha > 0), for solvers that work on x / alpha. */
export const DIFFUSION: readonly ('vp' | 've')[] = ['vp', 've'];
