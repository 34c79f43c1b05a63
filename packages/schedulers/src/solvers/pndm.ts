import { InvalidArgumentError, type NoiseLevel } from '@mezzotint/core';
import { firstOrder } from '../coefficients.js';
import { exchanged } from '../exponential.js';
import type { DiscreteProcess } from '../schedules/process.js';
import { levelAt, timestepSchedule } from '../schedules/schedule.js';
import {
  DIFFUSION,
  rowSteps,
  type Solver,
  type SolverContext,
  type State,
  type StepResult,
  solver,
} from '../solver.js';
import type { Space } from '../spaces/space.js';
import { needsSignal, noiseOf } from './parts.js';
import { needsWholeTimes, strideOf } from './stride.js';

/** Adams-Bashforth weights for evenly spaced steps, newest first, by order. */
const ADAMS_BASHFORTH: readonly (readonly number[])[] = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
];

/** What PLMS averages over the last steps. */
export interface PlmsOptions {
  /**
   * `noise` averages noise predictions, as the paper does. `v` averages v = alpha eps - sigma x0 and turns the
   * average into noise at the step's own x and level: what diffusers does with networks that predict v.
   */
  readonly average?: 'noise' | 'v';
}

/**
 * PLMS: the pseudo linear multistep method, DDIM's step on a fourth-order average of the last noise predictions, with one
 * improved Euler step (two evaluations) to start. PNDM of diffusers with skip_prk_steps; Liu et al. 2022 (arXiv
 * 2202.09778), eq. 12.
 */
export function plms({ average = 'noise' }: PlmsOptions = {}): Solver<'vp' | 've', 'estimate'> {
  const quantity = average === 'noise' ? noiseAverage : vAverage;
  return solver({
    name: 'plms',
    kinds: DIFFUSION,
    problems: needsSignal,
    step(i, state, means) {
      if (state.memory.length > 0) return adamsStep(i, state, means, quantity);
      const { x } = state;
      const { space, table, estimate } = means;
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const x0 = estimate(x, level);
      const first = quantity.of(space, x, x0, level);
      const ahead = transfer(space, x, noiseOf(space, x, x0, level), level, to);
      if (to.sigma === 0) return { x: ahead, x0, level, memory: [first], numbers: [] };
      const second = quantity.of(space, ahead, estimate(ahead, to), to);
      const noise = quantity.noise(space, x, space.combine([0.5, first], [0.5, second]), level);
      return { x: transfer(space, x, noise, level, to), x0, level, memory: [first], numbers: [] };
    },
  });
}

/**
 * PLMS as PNDM of diffusers runs it (skip_prk_steps): one evaluation a step, of which a table of n rows has n + 1, because its
 * second row is evaluated twice. A step goes back one stride of the forward process (`Stride`), and the first two together from one
 * stride above the second row to it. A run that starts in the middle does not evaluate its own second row twice, so that from
 * then on the network is told the time of the row after: what diffusers does in image to image.
 *
 * @param options process, the forward process; average as in `plms`
 */
export function plmsDiscrete({
  process,
  average = 'noise',
}: PlmsOptions & { readonly process: DiscreteProcess }): Solver<'vp', 'estimate'> {
  const quantity = average === 'noise' ? noiseAverage : vAverage;
  const rowOf = (i: number) => (i < 2 ? i : i - 1);
  return solver({
    name: 'plms-discrete',
    kinds: ['vp'],
    problems: (table) => [...needsSignal(table), ...needsWholeTimes(process, table)],
    steps: (table) => rowSteps(table) + Number(rowSteps(table) > 1),
    level: (i, table) => levelAt(table, rowOf(i)),
    // Memory: the quantities, newest first; between the first two evaluations also the x of the first. Numbers: steps made.
    step(i, { x, memory, numbers }, { space, table, estimate }) {
      const level = levelAt(table, rowOf(i));
      const stride = strideOf(process, table);
      const x0 = estimate(x, level);
      const now = quantity.of(space, x, x0, level);
      const [made = 0] = numbers;
      const end = (
        from: NoiseLevel,
        to: NoiseLevel,
        start: typeof x,
        average: typeof x,
        kept: readonly (typeof x)[],
      ) => ({
        x: transfer(space, start, quantity.noise(space, start, average, from), from, to),
        x0,
        level,
        memory: kept,
        numbers: [made + 1],
      });
      if (made === 0) return end(level, stride.below(level.time!), x, now, [now, x]);
      if (made === 1) {
        const [first, start] = memory as [typeof x, typeof x];
        const average = space.combine([0.5, now], [0.5, first]);
        return end(stride.below(level.time!, -1), level, start, average, [first]);
      }
      const past = [now, ...memory].slice(0, 4);
      return end(level, stride.below(level.time!), x, adamsBashforth(space, past), past.slice(0, 3));
    },
  });
}

/**
 * PNDM as diffusers runs it (skip_prk_steps: false): three pseudo Runge-Kutta steps of four evaluations, then PLMS in strides of the
 * forward process. Their middle lies half a stride below the first time, and the network is told half a stride above the second: the
 * same where the stride is even. Liu et al. 2022, algorithm 2, in diffusers' times.
 *
 * @param options process, the forward process; average as in `plms`
 */
export function pndmDiscrete({
  process,
  average = 'noise',
}: PlmsOptions & { readonly process: DiscreteProcess }): Solver<'vp', 'estimate'> {
  const quantity = average === 'noise' ? noiseAverage : vAverage;
  const ofTime = (time: number) => levelAt(timestepSchedule(process, [time]), 0);
  return solver({
    name: 'pndm-discrete',
    kinds: ['vp'],
    problems: (table) => [
      ...needsSignal(table),
      ...needsWholeTimes(process, table),
      ...(rowSteps(table) < 4 ? ['needs at least 4 steps, of which 3 are Runge-Kutta steps'] : []),
    ],
    step<V>(i: number, { x, memory }: State<V>, { space, table, estimate }: SolverContext<V>): StepResult<V> {
      const level = levelAt(table, i);
      const x0 = estimate(x, level);
      const first = quantity.of(space, x, x0, level);
      const towards = (average: V, to: NoiseLevel) =>
        transfer(space, x, quantity.noise(space, x, average, level), level, to);
      const past = [first, ...memory].slice(0, 4);
      const kept = { x0, level, memory: past.slice(0, 3), numbers: [] };
      if (memory.length >= 3 || i + 1 === rowSteps(table)) {
        return { ...kept, x: towards(adamsBashforth(space, past), strideOf(process, table).below(level.time!)) };
      }
      const half = Math.floor(Math.floor(process.alpha.length / rowSteps(table)) / 2);
      const next = levelAt(table, i + 1);
      const middle = ofTime(next.time! + half);
      const at = (x: V, where: NoiseLevel) => quantity.of(space, x, estimate(x, where), where);
      const second = at(towards(first, ofTime(level.time! - half)), middle);
      const third = at(towards(second, middle), middle);
      const fourth = at(towards(third, next), next);
      const average = space.combine([1 / 6, first], [1 / 3, second], [1 / 3, third], [1 / 6, fourth]);
      return { ...kept, x: towards(average, next) };
    },
  });
}

/** A quantity that is averaged, and the noise that its average means at x. */
interface Averaged {
  of<V>(space: Space<V>, x: V, x0: V, at: NoiseLevel): V;
  noise<V>(space: Space<V>, x: V, average: V, at: NoiseLevel): V;
}

const noiseAverage: Averaged = { of: noiseOf, noise: (_space, _x, average) => average };

/** In the variance-preserving form x / n, n^2 = alpha^2 + sigma^2: v = (alpha x / n - n D) / sigma, eps = (alpha v + sigma x / n) / n. */
const vAverage: Averaged = {
  of(space, x, x0, { alpha, sigma }) {
    const n = Math.hypot(alpha, sigma);
    return space.combine([alpha / (n * sigma), x], [-n / sigma, x0]);
  },
  noise(space, x, average, { alpha, sigma }) {
    const n = Math.hypot(alpha, sigma);
    return space.combine([alpha / n, average], [sigma / n ** 2, x]);
  },
};

/** Options of iPNDM. */
export interface IpndmOptions {
  /**
   * What a first row of pure noise (alpha = 0) does: `refuse` it, since the step divides by alpha, or take its estimate of x0
   * as `zero`, as IPNDMScheduler of diffusers does. `refuse`.
   */
  readonly pureNoise?: 'refuse' | 'zero';
}

/**
 * iPNDM: PLMS that starts with lower orders instead of an extra evaluation. Zhang & Chen 2023 (arXiv 2204.13902), eq. 17.
 */
export function ipndm({ pureNoise = 'refuse' }: IpndmOptions = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'ipndm',
    kinds: DIFFUSION,
    problems: (table) => (pureNoise === 'refuse' ? needsSignal(table) : []),
    step<V>(i: number, state: State<V>, means: SolverContext<V>): StepResult<V> {
      const level = levelAt(means.table, i);
      if (level.alpha > 0) return adamsStep(i, state, means, noiseAverage);
      const noise = means.space.combine([1 / level.sigma, state.x]);
      const x = means.space.combine([levelAt(means.table, i + 1).sigma, noise]);
      return { x, x0: means.estimate(state.x, level), level, memory: [noise], numbers: [] };
    },
  });
}

/**
 * PNDM: three pseudo Runge-Kutta steps (four evaluations each, at times halfway between rows), then PLMS. Liu et al. 2022,
 * algorithm 2.
 *
 * @param options process, the forward process whose whole times lie halfway between the table's
 */
export function pndm({ process }: { readonly process: DiscreteProcess }): Solver<'vp', 'estimate'> {
  return solver({
    name: 'pndm',
    kinds: ['vp'],
    problems: (table) => [
      ...needsSignal(table),
      ...(table.time ? [] : ['needs a table with times, to find the times halfway between its rows']),
    ],
    step<V>(i: number, state: State<V>, means: SolverContext<V>): StepResult<V> {
      const { space, table, estimate } = means;
      const to = levelAt(table, i + 1);
      if (state.memory.length > 2 || to.sigma === 0) return adamsStep(i, state, means, noiseAverage);
      const { x } = state;
      const level = levelAt(table, i);
      const middle = halfway(process, level, to);
      const x0 = estimate(x, level);
      const first = noiseOf(space, x, x0, level);
      const at = (noise: V, where: NoiseLevel): V => {
        const there = transfer(space, x, noise, level, where);
        return noiseOf(space, there, estimate(there, where), where);
      };
      const second = at(first, middle);
      const third = at(second, middle);
      const fourth = at(third, to);
      const average = space.combine([1 / 6, first], [1 / 3, second], [1 / 3, third], [1 / 6, fourth]);
      return {
        x: transfer(space, x, average, level, to),
        x0,
        level,
        memory: [first, ...state.memory].slice(0, 3),
        numbers: [],
      };
    },
  });
}

function halfway(process: DiscreteProcess, from: NoiseLevel, to: NoiseLevel): NoiseLevel {
  const time = Math.floor((from.time! + Math.max(to.time!, 0)) / 2);
  if (!(time >= 0 && time < process.alpha.length)) {
    throw new InvalidArgumentError(
      'pndm',
      `time ${time} is not of the forward process of ${process.alpha.length} steps`,
    );
  }
  return levelAt(timestepSchedule(process, [time]), 0);
}

function adamsStep<V>(
  i: number,
  { x, memory }: State<V>,
  { space, table, estimate }: SolverContext<V>,
  quantity: Averaged,
): StepResult<V> {
  const level = levelAt(table, i);
  const x0 = estimate(x, level);
  const past = [quantity.of(space, x, x0, level), ...memory].slice(0, 4);
  const average = adamsBashforth(space, past);
  const noise = quantity.noise(space, x, average, level);
  const next = transfer(space, x, noise, level, levelAt(table, i + 1));
  return { x: next, x0, level, memory: past.slice(0, 3), numbers: [] };
}

/** The average of one to four quantities, newest first. */
function adamsBashforth<V>(space: Space<V>, past: readonly V[]): V {
  return space.combine(...ADAMS_BASHFORTH[past.length - 1]!.map((w, k) => [w, past[k]!] as const));
}

/** DDIM's step with a given noise: x' = (alpha'/alpha) x + (sigma' - sigma alpha'/alpha) eps. PNDM, eq. 9. */
function transfer<V>(space: Space<V>, x: V, noise: V, from: NoiseLevel, to: NoiseLevel): V {
  const { p, q } = firstOrder(exchanged(from), exchanged(to));
  return space.combine([p, x], [q, noise]);
}
