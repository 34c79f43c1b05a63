import { levelAt, type NoiseSchedule, type ScheduleKind } from '@mezzotint/schedulers';
import { type Distribution, threePeaks } from './distributions.js';
import type { Integrate } from './integrator.js';
import { noNoise, smoothSchedule } from './probes.js';

/** How the error falls with the steps. */
export interface Convergence {
  readonly steps: readonly number[];
  /** Root mean square error at the table's end, in the scale of the exact answer. */
  readonly errors: readonly number[];
  /** Slope of log error against log steps between the last two counts whose errors stand out of the rounding. */
  readonly order: number;
}

/** What is solved, and with how many steps. */
export interface ConvergenceOptions {
  readonly distribution?: Distribution;
  readonly table?: (kind: ScheduleKind, steps: number) => NoiseSchedule;
  /** Rising; 24, 48, 96, 192, 384. */
  readonly steps?: readonly number[];
  /** Errors below this are rounding; 1e-11. */
  readonly floor?: number;
}

/**
 * Runs a solver against the exact solution of the probability-flow ODE with more and more steps, from points all over the
 * first level's distribution.
 */
export async function convergence(
  integrate: Integrate,
  kind: ScheduleKind,
  {
    distribution = threePeaks,
    table: tableOf = smoothSchedule,
    steps = [24, 48, 96, 192, 384],
    floor = 1e-11,
  }: ConvergenceOptions = {},
): Promise<Convergence> {
  const errors: number[] = [];
  for (const count of steps) {
    const table = tableOf(kind, count);
    const [from, to] = [levelAt(table, 0), levelAt(table, table.alpha.length - 1)];
    const start = pointsAt(distribution, from);
    const exact = distribution.solve(start, from, to);
    const found = await integrate(distribution.denoise, start.slice(), table, noNoise());
    errors.push(rms(found, exact) / Math.sqrt(exact.reduce((sum, v) => sum + v * v, 0) / exact.length));
  }
  const clear = errors.flatMap((error, i) => (error > 20 * floor ? [i] : []));
  const [b = errors.length - 1, a = b - 1] = clear.slice(-2).reverse();
  const order = Math.log(errors[a]! / errors[b]!) / Math.log(steps[b]! / steps[a]!);
  return { steps, errors, order };
}

/** Points from -2 to 2 deviations of a level's marginal. */
export function pointsAt(
  { mean, variance }: Distribution,
  { alpha, sigma }: { readonly alpha: number; readonly sigma: number },
): Float64Array {
  const spread = Math.sqrt(sigma ** 2 + alpha ** 2 * variance);
  return Float64Array.from({ length: 9 }, (_, i) => alpha * mean + spread * (-2 + i / 2));
}

function rms(a: Float64Array, b: Float64Array): number {
  return Math.sqrt(a.reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0) / a.length);
}
