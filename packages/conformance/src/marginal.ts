import { TorchGenerator } from '@mezzotint/core';
import { levelAt, type NoiseSchedule, type NoiseSource, type ScheduleKind } from '@mezzotint/schedulers';
import { type Distribution, gaussian } from './distributions.js';
import type { Integrate } from './integrator.js';
import { noNoise, oneDrawEach, smoothSchedule } from './probes.js';

/** Variance at the end of a run on normal data. */
export interface MarginalVariance {
  /** Variance that the solver gives. */
  readonly found: number;
  /** sigma^2 + alpha^2 s^2 of the table's last row. */
  readonly exact: number;
  /** `weights` of x and of every draw, exact; or `samples`, when the solver is not linear. */
  readonly by: 'weights' | 'samples';
  /** Standard error of `found`; 0 when it was computed by weights. */
  readonly standardError: number;
}

/**
 * The variance of a solver's results when x has that of the table's first level. On normal data a solver is a sum of
 * weights times x and its draws, so two runs of unit vectors give the variance without sampling; a solver that looks at
 * norms is sampled.
 *
 * @param samples for the second way; 40000, a standard error of 0.7 %
 */
export async function marginalVariance(
  integrate: Integrate,
  kind: ScheduleKind,
  steps: number,
  {
    table: tableOf = smoothSchedule,
    samples = 40_000,
  }: {
    readonly table?: (kind: ScheduleKind, steps: number) => NoiseSchedule;
    readonly samples?: number;
  } = {},
): Promise<MarginalVariance> {
  const data = gaussian();
  const table = tableOf(kind, steps);
  const variance = (row: number) => {
    const { alpha, sigma } = levelAt(table, row);
    return sigma ** 2 + alpha ** 2 * data.variance;
  };
  const exact = variance(table.alpha.length - 1);
  const start = Math.sqrt(variance(0));

  const counter = noNoise();
  await integrate(data.denoise, Float64Array.of(start), table, counter);
  const unit = new Float64Array(counter.draws() + 1);
  unit[0] = start;
  const weights = await integrate(data.denoise, unit, table, oneDrawEach());
  if (await isSumOf(weights, integrate, data, table, start)) {
    return { found: weights.reduce((sum, w) => sum + w * w, 0), exact, by: 'weights', standardError: 0 };
  }

  const random = new TorchGenerator(1);
  const x = Float64Array.from(random.randn(samples), (z) => z * start);
  const end = await integrate(data.denoise, x, table, seeded(2));
  const found = end.reduce((sum, v) => sum + v * v, 0) / samples;
  return { found, exact, by: 'samples', standardError: found * Math.sqrt(2 / samples) };
}

/** True when a run on other noise is what the weights say. */
async function isSumOf(
  weights: Float64Array,
  integrate: Integrate,
  { denoise }: Distribution,
  table: NoiseSchedule,
  start: number,
): Promise<boolean> {
  const drawn: number[] = [];
  const source = seeded(3);
  const recorded: NoiseSource = {
    ...source,
    draw(...given) {
      const z = source.draw(...given);
      drawn.push(z[0]!);
      return z;
    },
  };
  const [end] = await integrate(denoise, Float64Array.of(-0.7 * start), table, recorded);
  if (drawn.length !== weights.length - 1) return false;
  const said = drawn.reduce((sum, z, k) => sum + z * weights[k + 1]!, -0.7 * weights[0]!);
  return Math.abs(end! - said) <= 1e-4 * Math.sqrt(weights.reduce((sum, w) => sum + w * w, 0));
}

/** Independent normals for every draw. */
function seeded(seed: number): NoiseSource {
  const random = new TorchGenerator(seed);
  return {
    draw: (shape) => random.randn(shape.reduce((n, d) => n * d, 1)),
    save: () => null,
    restore: () => {},
  };
}
