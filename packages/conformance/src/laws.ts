import type { Denoiser } from '@mezzotint/core';
import {
  type HostDenoiser,
  levelAt,
  type NoiseSchedule,
  run,
  type SavedRun,
  type ScheduleKind,
  type Solver,
} from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { threePeaks } from './distributions.js';
import type { Integrate } from './integrator.js';
import { pointsAt } from './order.js';
import { noNoise, smoothSchedule, tableToClean, waves } from './probes.js';
import { atMost, type Check, isTrue } from './report.js';

/**
 * Two solvers are the same: their answers differ by rounding only, on the same table, data and noise. For laws such as
 * "DDIM with eta 0 is Euler".
 *
 * @param tolerance largest difference in the scale of the answer; 1e-9
 */
export async function checkSame(
  name: string,
  a: Integrate,
  b: Integrate,
  {
    kinds = ['vp', 've'],
    table: tableOf = smoothSchedule,
    steps = 12,
    tolerance = 1e-9,
  }: {
    readonly kinds?: readonly ScheduleKind[];
    readonly table?: (kind: ScheduleKind, steps: number) => NoiseSchedule;
    readonly steps?: number;
    readonly tolerance?: number;
  } = {},
): Promise<Check> {
  let farthest = 0;
  for (const kind of kinds) {
    const table = tableOf(kind, steps);
    const start = pointsAt(threePeaks, levelAt(table, 0));
    const one = await a(threePeaks.denoise, start.slice(), table, waves());
    const other = await b(threePeaks.denoise, start.slice(), table, waves());
    farthest = Math.max(farthest, distance(one, other));
  }
  return atMost(name, farthest, tolerance);
}

/** When the estimate is always the same point c, a run to a clean picture ends on it, whatever the noise was. */
export async function checkPoint(integrate: Integrate, kind: ScheduleKind, tolerance: number): Promise<Check> {
  const c = 0.7;
  const point: HostDenoiser = (x) => x.map(() => c);
  const table = tableToClean(kind, 12);
  const { alpha, sigma } = levelAt(table, 0);
  const start = Float64Array.from([-1, 0, 2], (z) => alpha * c + sigma * z);
  const end = await integrate(point, start, table, waves());
  return atMost(
    `${kind}: data that is one point is reached`,
    distance(
      end,
      end.map(() => c),
    ),
    tolerance,
  );
}

/** The array that a solver is given stays as it was, and the same run gives the same bits. */
export async function checkPure(integrate: Integrate, kind: ScheduleKind): Promise<readonly Check[]> {
  const table = tableToClean(kind, 12);
  const start = pointsAt(threePeaks, levelAt(table, 0));
  const given = start.slice();
  const once = await integrate(threePeaks.denoise, given, table, waves());
  const again = await integrate(threePeaks.denoise, start.slice(), table, waves());
  const same = (a: Float64Array, b: Float64Array) => a.length === b.length && a.every((v, i) => Object.is(v, b[i]));
  return [
    isTrue(`${kind}: the given x is left as it was`, same(given, start), 'changed', 'unchanged'),
    isTrue(`${kind}: the same run gives the same bits`, same(once, again), 'different bits', 'the same bits'),
    isTrue(
      `${kind}: the numbers are finite`,
      once.every(Number.isFinite),
      `not finite: ${[...once].filter((v) => !Number.isFinite(v)).length} of ${once.length}`,
      'all finite',
    ),
  ];
}

/** A deterministic solver asks for no noise, a stochastic one does. */
export async function checkDraws(integrate: Integrate, kind: ScheduleKind, stochastic: boolean): Promise<Check> {
  const table = tableToClean(kind, 12);
  const noise = noNoise();
  await integrate(threePeaks.denoise, pointsAt(threePeaks, levelAt(table, 0)), table, noise);
  const expected = stochastic ? 'at least 1 draw' : '0 draws';
  return isTrue(`${kind}: noise`, noise.draws() > 0 === stochastic, `${noise.draws()} draws`, expected);
}

/**
 * A run on tensors that is saved after any step and goes on in a new solver from the saved state gives the same bits:
 * the solver keeps nothing outside of its state. Needs a TensorFlow.js engine.
 *
 * @param create makes the solver anew, as a program that resumes does
 */
export async function checkResumes<K extends ScheduleKind>(
  create: () => Solver<K, 'estimate'>,
  kind: K,
): Promise<Check> {
  const table = tableToClean<NoInfer<K>>(kind, 6);
  const first = levelAt(table, 0);
  const start = tf.tensor4d(Float32Array.from(pointsAt(threePeaks, first)), [1, 3, 3, 1]);
  const model = onTensors(threePeaks.denoise);
  const runFrom = async (from: tf.Tensor4D | SavedRun) => {
    const saves: SavedRun[] = [];
    let end = new Float32Array();
    const solver = create();
    for await (const step of run(solver, model, from, table, undefined, solver.stochastic ? { noise: waves() } : {})) {
      saves.push(JSON.parse(JSON.stringify(await step.save(), plainArrays), typedData) as SavedRun);
      if (step.last) end = Float32Array.from(await step.x.data());
    }
    return { saves, end };
  };
  const whole = await runFrom(start);
  start.dispose();
  let different = 0;
  for (const saved of whole.saves.slice(0, -1)) {
    const { end } = await runFrom(saved);
    if (!end.every((v, i) => Object.is(v, whole.end[i]))) different++;
  }
  return isTrue(
    `${kind}: saved and resumed after any step, the same bits`,
    different === 0,
    `${different} of ${whole.saves.length - 1} resumed runs end elsewhere`,
    'the same bits',
  );
}

/** A denoiser of arrays as one of tensors. */
function onTensors(denoise: HostDenoiser): Denoiser {
  return (x, at) => tf.tensor4d(Float32Array.from(denoise(Float64Array.from(x.dataSync()), at)), x.shape);
}

function plainArrays(_: string, value: unknown): unknown {
  return value instanceof Float32Array ? { float32: [...value] } : value;
}

function typedData(_: string, value: unknown): unknown {
  const { float32 } = (value ?? {}) as { readonly float32?: number[] };
  return float32 ? Float32Array.from(float32) : value;
}

/** Largest difference in the scale of b. */
export function distance(a: Float64Array, b: Float64Array): number {
  const scale = Math.max(...b.map(Math.abs), 1e-300);
  return Math.max(...a.map((v, i) => (Number.isNaN(v) ? Number.POSITIVE_INFINITY : Math.abs(v - b[i]!) / scale)));
}
