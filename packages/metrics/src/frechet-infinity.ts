import { InvalidArgumentError, NumpyRandomState } from '@mezzotint/core';
import { FeatureStatistics } from './feature-statistics.js';
import { type Features, problemsOf } from './features.js';
import { frechetDistance, type Gaussian } from './frechet-distance.js';

/** A value with a 95 % interval. On Gaussian data it held the truth in 90 to 100 of 100 repetitions. */
export interface Extrapolation {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** Sizes of parts when nobody says how many. */
export const INFINITY_CUTS = 5;

/** How FID is extrapolated. */
export interface InfinityOptions {
  /** The rows are cut into 1, 2, ... `cuts` parts. Default 5, which makes 15 distances. */
  readonly cuts?: number;
  /** Seed of the shuffle before cutting. Default 0. */
  readonly seed?: number;
}

/** 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom; 1.96 from 40 on. */
const STUDENT = [
  ...[12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131],
  ...[2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042],
];

/**
 * The Fréchet distance of infinitely many generated pictures: distances of parts of the rows, N each, lie on a line in 1/N
 * whose value at 0 is it. M. Chong, D. Forsyth, "Effectively Unbiased FID and Inception Score" (2020), section 4. The parts of one
 * size are disjoint, so that their scatter shows in the line's error; the interval is that of the intercept, weighted by N
 * as a part's variance is about 1/N.
 *
 * @param real statistics of the reference, whose own finite number is not corrected for
 * @throws InvalidArgumentError for parts of fewer than 2 rows, or as {@link frechetDistance}
 */
export function frechetDistanceAtInfinity(
  generated: Features,
  real: Gaussian,
  { cuts = INFINITY_CUTS, seed = 0 }: InfinityOptions = {},
): Extrapolation {
  const problems = problemsOf('generated', generated, 1);
  if (!Number.isInteger(cuts) || cuts < 2) problems.push(`expected cuts to be an integer of at least 2, got ${cuts}`);
  else if (generated.count < 2 * cuts) {
    problems.push(`expected at least ${2 * cuts} rows, 2 in each of ${cuts} parts, got ${generated.count}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('frechetDistanceAtInfinity', problems);
  const points: { x: number; y: number; weight: number }[] = [];
  for (let parts = 1; parts <= cuts; parts++) {
    const order = new NumpyRandomState(seed + parts).permutation(generated.count);
    const size = Math.floor(generated.count / parts);
    for (let part = 0; part < parts; part++) {
      const rows = order.subarray(part * size, (part + 1) * size);
      points.push({ x: 1 / size, y: frechetDistance(statisticsOf(generated, rows), real), weight: size });
    }
  }
  return interceptOf(points);
}

function statisticsOf({ data, dim }: Features, rows: Int32Array): FeatureStatistics {
  const picked = new Float64Array(rows.length * dim);
  for (const [i, row] of rows.entries()) picked.set(data.subarray(row * dim, (row + 1) * dim), i * dim);
  return new FeatureStatistics(dim).add({ data: picked, count: rows.length, dim });
}

/** Weighted least squares: the value at x = 0 and its interval. */
function interceptOf(points: readonly { x: number; y: number; weight: number }[]): Extrapolation {
  const total = (of: (p: (typeof points)[number]) => number) => points.reduce((sum, p) => sum + p.weight * of(p), 0);
  const [w, sx, sy] = [total(() => 1), total(({ x }) => x), total(({ y }) => y)];
  const [mx, my] = [sx / w, sy / w];
  const sxx = total(({ x }) => (x - mx) ** 2);
  const slope = total(({ x, y }) => (x - mx) * (y - my)) / sxx;
  const value = my - slope * mx;
  const freedom = points.length - 2;
  const residual = total(({ x, y }) => (y - value - slope * x) ** 2) / freedom;
  const error = Math.sqrt(residual * (1 / w + (mx * mx) / sxx)) * (STUDENT[freedom - 1] ?? 1.96);
  return { value, low: value - error, high: value + error };
}
