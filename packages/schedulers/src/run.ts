import type { Denoiser, HostTensor, NoiseLevel, VarianceDenoiser } from '@mezzotint/core';
import { InvalidArgumentError, stepBoundary } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Json, NoiseSource } from './noise/noise-source.js';
import { levelAt, type NoiseSchedule, noiseRatio, type ScheduleKind, scheduleRows } from './schedules/schedule.js';
import { type Need, rowSteps, type Solver, type SolverContext, type State, type StepResult } from './solver.js';
import { tensorSpace } from './spaces/tensor.js';

/** The model that a solver takes: a Denoiser, or one that also learned the variance. */
export type ModelFor<N extends Need, C> = N extends 'variance' ? VarianceDenoiser<C> : Denoiser<C>;

/** What a run may be given beside solver, model, start, table and condition. */
export interface RunOptions {
  /** Where noise comes from; stochastic solvers need it. */
  readonly noise?: NoiseSource;
  /** Stops the run between two steps; the generator throws the signal's reason. */
  readonly signal?: AbortSignal;
  /**
   * Which of the solver's steps are made, for a run that starts from a noised picture (x at `startLevel`) or is handed over:
   * from the first number up to the second, excluded. The solver sees the whole table all the same, so that what depends on
   * its length does not change.
   */
  readonly steps?: StepRange;
}

/** A part of a solver's steps, the end excluded; all of them when left out. */
export interface StepRange {
  readonly from?: number;
  readonly to?: number;
}

/** One step of a run. Its tensors belong to the run and live until the next step is asked for. */
export interface Step {
  /** 0 for the run's first step. */
  readonly index: number;
  /** Number of steps of the run; Infinity when the solver does not know. */
  readonly count: number;
  /** True for the last step, also where the solver did not know the count. */
  readonly last: boolean;
  /** Evaluations of the network so far. */
  readonly evaluations: number;
  /** The noise level at which x0 was estimated. */
  readonly level: NoiseLevel;
  /** The estimate of the clean images, `[N, H, W, C]`. */
  readonly x0: tf.Tensor4D;
  /** Where the step arrived, `[N, H, W, C]`; after the last step the sample. */
  readonly x: tf.Tensor4D;
  /** Everything needed to go on from here in another process; ask before the next step. */
  save(): Promise<SavedRun>;
}

/** A run between two steps. Pass it to `run` in the place of x, with the same solver, table, model and condition. */
export interface SavedRun {
  readonly solver: string;
  /** The solver's next step. */
  readonly index: number;
  readonly evaluations: number;
  readonly x: HostTensor;
  readonly memory: readonly HostTensor[];
  readonly numbers: readonly number[];
  /** State of the noise source; null when there was none. */
  readonly noise: Json;
}

/**
 * Goes from the first row of the table to the last, yielding each step. Deterministic: the same solver, model, x,
 * table and noise give the same bits on the same engine, also when saved and resumed.
 *
 * @param solver for example `dpmpp2m()`; the type refuses a table of a kind it cannot use
 * @param model estimates x0; called with x of the table's level
 * @param from x at the table's first level, `[N, H, W, C]` (not disposed), or a saved run
 * @throws InvalidArgumentError when solver and table, or the saved run, do not fit; the signal's reason when aborted
 */
export async function* run<K extends ScheduleKind, N extends Need, C = void>(
  solver: Solver<K, N>,
  model: NoInfer<ModelFor<N, C>>,
  from: tf.Tensor4D | SavedRun,
  whole: NoiseSchedule<NoInfer<K>>,
  cond: C,
  { noise, signal, steps }: RunOptions = {},
): AsyncGenerator<Step, void, undefined> {
  const { table, first, end } = partOf(solver, whole, steps);
  checkPair(solver, table, noise);
  const start = isSaved(from) ? from : undefined;
  if (start) checkSaved(solver, start, end);
  if (start && noise && start.noise !== null) noise.restore(start.noise);
  let state: State<tf.Tensor4D> = start
    ? { x: toTensor(start.x), memory: start.memory.map(toTensor), numbers: start.numbers }
    : { x: tf.clone(from as tf.Tensor4D), memory: [], numbers: [] };
  let held: tf.Tensor[] = [state.x, ...state.memory];
  let evaluations = start?.evaluations ?? 0;

  const shape = state.x.shape;
  const space = tensorSpace(shape);
  const evaluated = <T extends tf.TensorContainer>(result: T): T => {
    evaluations++;
    stepBoundary(); // each evaluation compiles to the same graph, however many a step has
    return result;
  };
  const means: SolverContext<tf.Tensor4D> = {
    space,
    table,
    estimate: (x, at) => {
      const x0 = tf.tidy(() => (model as Denoiser<C>)(x, at, cond));
      if ('interpolation' in x0) throw wrongModel(solver, 'a Denoiser; withoutVariance(model) makes one');
      return evaluated(x0);
    },
    estimateWithVariance: (x, at) => {
      const { x0, interpolation } = tf.tidy(() => ({ ...(model as VarianceDenoiser<C>)(x, at, cond) }));
      if (!x0 || !interpolation) throw wrongModel(solver, 'a VarianceDenoiser, made by varianceDenoiser(network, ...)');
      return evaluated({ x0, interpolation });
    },
    noise: (a, b) => space.fromHost(noise!.draw(shape, noiseRatio(a), noiseRatio(b))),
  };

  try {
    for (let index = start?.index ?? first; index < end; index++) {
      signal?.throwIfAborted();
      const advance: StepResult<tf.Tensor4D> = tf.tidy(() => {
        const { x, memory, x0, ...rest } = solver.step(index, state, means);
        return { ...rest, x, x0, memory: [...memory] } as unknown as tf.TensorContainer;
      }) as unknown as StepResult<tf.Tensor4D>;
      stepBoundary();
      const kept = new Set<tf.Tensor>([advance.x, advance.x0, ...advance.memory]);
      for (const old of held) if (!kept.has(old)) old.dispose();
      held = [...kept];
      state = { x: advance.x, memory: advance.memory, numbers: advance.numbers };
      const { level, x0, x, memory, numbers } = advance;
      const done = evaluations;
      const last = advance.done === true || index + 1 === end;
      yield {
        index: index - first,
        count: end - first,
        last,
        evaluations,
        level,
        x0,
        x,
        save: async () => {
          if (x.isDisposed)
            throw new InvalidArgumentError('Step.save', 'this step is over: save before the next is asked for');
          return {
            solver: solver.name,
            index: index + 1,
            evaluations: done,
            x: await toHost(x),
            memory: await Promise.all(memory.map(toHost)),
            numbers,
            noise: noise?.save() ?? null,
          };
        },
      };
      if (last) return;
      await breathe();
    }
  } finally {
    for (const tensor of new Set(held)) tensor.dispose();
  }
}

/**
 * Runs to the end and returns the sample, `[N, H, W, C]`, which the caller disposes. Arguments as for `run`.
 *
 * @param onStep called after each step; its tensors live until it returns
 */
export async function sample<K extends ScheduleKind, N extends Need, C = void>(
  solver: Solver<K, N>,
  model: NoInfer<ModelFor<N, C>>,
  from: tf.Tensor4D | SavedRun,
  table: NoiseSchedule<NoInfer<K>>,
  cond: C,
  { onStep, ...options }: RunOptions & { readonly onStep?: (step: Step) => void } = {},
): Promise<tf.Tensor4D> {
  let result: tf.Tensor4D | undefined;
  for await (const step of run<K, N, C>(solver, model, from, table, cond, options)) {
    onStep?.(step);
    result?.dispose();
    result = tf.clone(step.x);
  }
  if (result) return result;
  return isSaved(from) ? toTensor(from.x) : tf.clone(from);
}

/**
 * Refuses what cannot work, before anything runs.
 *
 * @throws InvalidArgumentError with everything that is wrong
 */
export function checkPair(solver: Solver, table: NoiseSchedule, noise?: NoiseSource): void {
  const problems: string[] = [];
  if (!solver.kinds.includes(table.kind)) {
    problems.push(`works on ${solver.kinds.join(' and ')} tables, got a ${table.kind} table`);
  }
  problems.push(...solver.problems(table));
  if (solver.stochastic && !noise) problems.push('draws noise: give { noise }, for example torchNoise(seed)');
  if (problems.length > 0) throw new InvalidArgumentError(solver.name, problems);
}

/** The level of the x that a solver's step takes: where a run with `steps: { from: step }` starts. */
export function startLevel(solver: Solver, table: NoiseSchedule, step: number): NoiseLevel {
  return solver.level?.(step, table) ?? levelAt(table, step);
}

/** The number of steps of which a run may make a part: those of the solver, or the table's rows where they are not the same. */
export function stepsOf(solver: Solver, table: NoiseSchedule): number {
  return solver.level ? solver.steps(table) : rowSteps(table);
}

/** The table that a solver sees and the steps of it that a run makes. Throws an InvalidArgumentError when there are none. */
function partOf<K extends ScheduleKind>(
  solver: Solver,
  table: NoiseSchedule<K>,
  { from = 0, to = Number.POSITIVE_INFINITY }: StepRange = {},
): { readonly table: NoiseSchedule<K>; readonly first: number; readonly end: number } {
  const all = stepsOf(solver, table);
  const end = Math.min(to, all);
  if (!(Number.isInteger(from) && from >= 0 && from < end && Number.isInteger(end))) {
    throw new InvalidArgumentError(solver.name, `expected some of the ${all} steps, got those from ${from} to ${to}`);
  }
  if (solver.level) return { table, first: from, end };
  const rows = from === 0 && end === all ? table : scheduleRows(table, from, end);
  return { table: rows, first: 0, end: solver.steps(rows) };
}

/** By its fields: a tensor may come from another copy of TensorFlow.js. */
function isSaved(from: tf.Tensor4D | SavedRun): from is SavedRun {
  return 'solver' in from;
}

function wrongModel(solver: Solver, expected: string): InvalidArgumentError {
  return new InvalidArgumentError(solver.name, `this solver takes ${expected}`);
}

function checkSaved(solver: Solver, saved: SavedRun, end: number): void {
  if (saved.solver !== solver.name) {
    throw new InvalidArgumentError(solver.name, `the saved run was made by ${saved.solver}; resume it with that`);
  }
  if (saved.index > end) {
    throw new InvalidArgumentError(
      solver.name,
      `the saved run has done ${saved.index} steps, and this table has ${end}: resume it with its own`,
    );
  }
}

function toTensor({ shape, data }: HostTensor): tf.Tensor4D {
  return tf.tensor4d(data, shape as [number, number, number, number]);
}

async function toHost(tensor: tf.Tensor4D): Promise<HostTensor> {
  return { shape: tensor.shape, data: Float32Array.from(await tensor.data()) };
}

/** Lets timers, signals and the screen have their turn between two steps. */
function breathe(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
}
