import { InvalidArgumentError, type NoiseLevel, type NoiseLevels } from '@mezzotint/core';
import { type DiscreteProcess, noiseRatioAt } from './process.js';
import type { TimeOf } from './time-of.js';
import { flowTime } from './time-of.js';

/**
 * The three ways in which signal and noise are mixed: `vp` (variance preserving, alpha^2 + sigma^2 = 1; DDPM, Stable
 * Diffusion, DiT), `ve` (variance exploding, alpha = 1; EDM, k-diffusion), `flow` (alpha = 1 - sigma; SD3, FLUX).
 */
export type ScheduleKind = 'vp' | 've' | 'flow';

/** Noise levels of a sampling run, noisiest first, that say how they mix, so that types can refuse a wrong solver. */
export interface NoiseSchedule<K extends ScheduleKind = ScheduleKind> extends NoiseLevels {
  readonly kind: K;
}

/**
 * Rows of a discrete forward process at these times, and a last one that is clean. Whole times are the forward process's own rows; between
 * them sigma / alpha is linear.
 *
 * @param final `clean` ends at sigma = 0; `first` ends at the forward process's own first level t = 0 (diffusers:
 *   set_alpha_to_one = false, final_sigmas_type = sigma_min)
 */
export function timestepSchedule(
  process: DiscreteProcess,
  timesteps: ArrayLike<number>,
  { final = 'clean' }: { readonly final?: 'clean' | 'first' } = {},
): NoiseSchedule<'vp'> {
  const time = Float64Array.from([...Array.from(timesteps), final === 'clean' ? -1 : 0]);
  const rows = Array.from(time, (t) => {
    if (t < 0) return { alpha: 1, sigma: 0 };
    if (Number.isInteger(t) && t < process.alpha.length) return { alpha: process.alpha[t]!, sigma: process.sigma[t]! };
    return levelOf('vp', noiseRatioAt(process, t));
  });
  return customSchedule('vp', {
    alpha: Float64Array.from(rows, (row) => row.alpha),
    sigma: Float64Array.from(rows, (row) => row.sigma),
    time,
  });
}

/**
 * Variance-exploding rows: alpha = 1.
 *
 * @param sigmas falling, usually to 0 (`karrasSigmas` and its like)
 * @param clock fills the network's times in; without it the parameterisation must know them
 */
export function sigmaSchedule(sigmas: ArrayLike<number>, clock?: TimeOf): NoiseSchedule<'ve'> {
  return ratioSchedule('ve', sigmas, clock);
}

/**
 * Flow rows: alpha = 1 - sigma, sigma falling from at most 1.
 *
 * @param clock the network's times; 1000 sigma when left out
 */
export function flowSchedule(sigmas: ArrayLike<number>, clock: TimeOf = flowTime()): NoiseSchedule<'flow'> {
  const sigma = Float64Array.from(sigmas);
  const alpha = sigma.map((s) => 1 - s);
  const time = sigma.map((s, i) => clock({ alpha: alpha[i]!, sigma: s }));
  return customSchedule('flow', { alpha, sigma, time });
}

/** Rows of a kind with given noise-to-signal ratios sigma / alpha; Infinity is pure noise. */
export function ratioSchedule<K extends ScheduleKind>(
  kind: K,
  ratios: ArrayLike<number>,
  clock?: TimeOf,
): NoiseSchedule<K> {
  const rows = Array.from(ratios, (ratio) => levelOf(kind, ratio));
  const alpha = Float64Array.from(rows, (row) => row.alpha);
  const sigma = Float64Array.from(rows, (row) => row.sigma);
  if (!clock) return customSchedule(kind, { alpha, sigma });
  return customSchedule(kind, { alpha, sigma, time: Float64Array.from(rows, clock) });
}

/** The same noise levels (sigma / alpha) and times, mixed in another way: x of one table is c x of the other. */
export function convertSchedule<K extends ScheduleKind>(table: NoiseLevels, kind: K): NoiseSchedule<K> {
  const rows = Array.from(table.sigma, (s, i) => levelOf(kind, s / table.alpha[i]!));
  return customSchedule(kind, {
    alpha: Float64Array.from(rows, (row) => row.alpha),
    sigma: Float64Array.from(rows, (row) => row.sigma),
    ...(table.time && { time: table.time }),
  });
}

/** Rows `from` to `to` (both included): for a run that starts from a noised picture, or that another model finishes. */
export function scheduleRows<K extends ScheduleKind>(
  table: NoiseSchedule<K>,
  from: number,
  to = table.alpha.length - 1,
): NoiseSchedule<K> {
  return customSchedule(table.kind, {
    alpha: table.alpha.slice(from, to + 1),
    sigma: table.sigma.slice(from, to + 1),
    ...(table.time && { time: table.time.slice(from, to + 1) }),
  });
}

/**
 * A table of your own numbers.
 *
 * @throws InvalidArgumentError with everything that is wrong: lengths, signs, a mix that is not of the kind, noise
 *   that does not fall (the last row may repeat the one before)
 */
export function customSchedule<K extends ScheduleKind>(kind: K, rows: NoiseLevels): NoiseSchedule<K> {
  const problems = tableProblems(kind, rows);
  if (problems.length > 0) throw new InvalidArgumentError(`${kind} table`, problems);
  return { kind, alpha: rows.alpha, sigma: rows.sigma, ...(rows.time && { time: rows.time }) };
}

/** One row. */
export function levelAt({ alpha, sigma, time }: NoiseLevels, row: number): NoiseLevel {
  const level = { alpha: alpha[row]!, sigma: sigma[row]! };
  return time ? { ...level, time: time[row]! } : level;
}

/** The level of a kind with the noise-to-signal ratio sigma / alpha, which may be Infinity except for `ve`. */
export function levelOf(kind: ScheduleKind, ratio: number): NoiseLevel {
  if (kind === 've') return { alpha: 1, sigma: ratio };
  if (ratio === Number.POSITIVE_INFINITY) return { alpha: 0, sigma: 1 };
  const norm = kind === 'vp' ? Math.hypot(1, ratio) : 1 + ratio;
  return { alpha: 1 / norm, sigma: ratio / norm };
}

/** lambda = log(alpha / sigma), half the log signal-to-noise ratio. DPM-Solver (Lu et al. 2022), section 3.1. */
export function halfLogSnr({ alpha, sigma }: NoiseLevel): number {
  return Math.log(alpha / sigma);
}

/** sigma / alpha: the noise level of the variance-exploding form. */
export function noiseRatio({ alpha, sigma }: NoiseLevel): number {
  return sigma / alpha;
}

/** The first and last rows and the length of a table in one JSON-able object, for logs and error reports. */
export function describeSchedule(table: NoiseSchedule): {
  readonly kind: ScheduleKind;
  readonly steps: number;
  readonly first: NoiseLevel;
  readonly last: NoiseLevel;
  readonly timed: boolean;
} {
  const steps = table.alpha.length - 1;
  return {
    kind: table.kind,
    steps,
    first: levelAt(table, 0),
    last: levelAt(table, steps),
    timed: table.time !== undefined,
  };
}

function tableProblems(kind: ScheduleKind, { alpha, sigma, time }: NoiseLevels): string[] {
  const rows = alpha.length;
  // A step that changes nothing: diffusers makes it where the forward process's own first row, its last level, is a row already.
  const repeats = (i: number) => alpha[i] === alpha[i - 1] && sigma[i] === sigma[i - 1];
  const problems: string[] = [];
  if (rows < 2) problems.push(`expected at least 2 rows (one step), got ${rows}`);
  if (sigma.length !== rows) problems.push(`alpha has ${rows} rows, sigma ${sigma.length}`);
  if (time && time.length !== rows)
    problems.push(`alpha has ${rows} rows, time ${time.length}; time has one for each row`);
  if (problems.length > 0) return problems;
  for (let i = 0; i < rows; i++) {
    const a = alpha[i]!;
    const s = sigma[i]!;
    if (!(a >= 0 && s >= 0 && a + s > 0 && Number.isFinite(a + s))) {
      problems.push(`row ${i}: alpha and sigma must be finite, not negative and not both 0, got ${a} and ${s}`);
    } else if (Math.abs(mixNorm(kind, a, s) - 1) > 1e-5) {
      problems.push(`row ${i}: ${MIX[kind]} does not hold for alpha ${a}, sigma ${s}`);
    } else if (i > 0 && !(s * alpha[i - 1]! < sigma[i - 1]! * a) && !(i === rows - 1 && repeats(i))) {
      problems.push(`row ${i}: noise must fall, got sigma / alpha ${s / a} after ${sigma[i - 1]! / alpha[i - 1]!}`);
    }
    if (problems.length === 8) return [...problems, 'and maybe more'];
  }
  return problems;
}

const MIX: Readonly<Record<ScheduleKind, string>> = {
  vp: 'alpha^2 + sigma^2 = 1',
  ve: 'alpha = 1',
  flow: 'alpha + sigma = 1',
};

function mixNorm(kind: ScheduleKind, alpha: number, sigma: number): number {
  if (kind === 've') return alpha;
  return kind === 'vp' ? Math.hypot(alpha, sigma) : alpha + sigma;
}
