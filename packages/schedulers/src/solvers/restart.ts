import type { NoiseLevel } from '@mezzotint/core';
import { InvalidArgumentError } from '@mezzotint/core';
import { levelAt, levelOf, type NoiseSchedule, noiseRatio } from '../schedules/schedule.js';
import { karrasSigmas } from '../schedules/sigmas.js';
import {
  DIFFUSION,
  rowSteps,
  type Solver,
  type SolverContext,
  type State,
  type StepResult,
  solver,
} from '../solver.js';
import { heunStep } from './heun.js';
import { needsSignal } from './parts.js';

/** A stretch of noise ratios (sigma / alpha) that is gone through again. */
export interface RestartInterval {
  /** Where the noise is added: at the first row not above this ratio. */
  readonly min: number;
  /** The ratio that it is raised to. */
  readonly max: number;
  /** K: how often. */
  readonly repeats: number;
  /** Heun steps back down, on Karras' spacing (rho 7). */
  readonly steps: number;
}

/**
 * Restart sampling: Heun's method that, on reaching the bottom of an interval, adds the noise of the forward process up to its
 * top and solves back down, K times. Xu et al. 2023 (arXiv 2306.14878), algorithm 1. It evaluates between the table's rows:
 * give the denoiser a clock.
 */
export function restart(intervals: readonly RestartInterval[]): Solver<'vp' | 've', 'estimate'> {
  const problems = intervals.flatMap(({ min, max, repeats, steps }, k) =>
    min > 0 && max > min && repeats >= 1 && steps >= 1
      ? []
      : [`interval ${k}: expected 0 < min < max, repeats and steps of at least 1`],
  );
  if (problems.length > 0) throw new InvalidArgumentError('restart', problems);
  return solver({
    name: 'restart',
    kinds: DIFFUSION,
    stochastic: true,
    problems: needsSignal,
    steps: (table) => restartLevels(table, intervals).length - 1,
    step<V>(i: number, { x, memory }: State<V>, means: SolverContext<V>): StepResult<V> {
      const { space, table, noise } = means;
      const levels = restartLevels(table, intervals);
      const [level, to] = [levels[i]!, levels[i + 1]!];
      if (noiseRatio(to) < noiseRatio(level)) {
        const next = heunStep(x, level, to, means, ({ alpha }) => alpha);
        return { ...next, level, memory: [next.x0], numbers: [] };
      }
      const a = to.alpha / level.alpha;
      const added = Math.sqrt(to.sigma ** 2 - (a * level.sigma) ** 2);
      return { x: space.combine([a, x], [added, noise(level, to)]), x0: memory[0]!, level, memory, numbers: [] };
    },
  });
}

/** Every level of the run in order; it rises where noise is added. */
export function restartLevels(table: NoiseSchedule, intervals: readonly RestartInterval[]): NoiseLevel[] {
  const levels: NoiseLevel[] = [];
  const waiting = new Set(intervals);
  for (let row = 0; row <= rowSteps(table); row++) {
    const level = levelAt(table, row);
    levels.push(level);
    for (const interval of waiting) {
      const bottom = noiseRatio(level);
      if (bottom > interval.min || bottom === 0 || row === 0) continue;
      waiting.delete(interval);
      const down = karrasSigmas({ steps: interval.steps + 1, min: bottom, max: interval.max }).slice(0, -2);
      for (let k = 0; k < interval.repeats; k++) {
        levels.push(...Array.from(down, (ratio) => levelOf(table.kind, ratio)), level);
      }
    }
  }
  return levels;
}
