import type { NoiseLevel } from '@mezzotint/core';
import { levelAt } from '../schedules/schedule.js';
import { rowSteps, type Solver, type SolverContext, type State, type StepResult, solver } from '../solver.js';

/** How the Langevin corrector is set up. */
export interface CorrectorOptions {
  /** Signal-to-noise ratio r that sets its step size; 0.16. */
  readonly snr?: number;
  /** Corrector steps before each predictor step; 1. */
  readonly correctorSteps?: number;
}

/** The predictor of a process: x' = mean + spread z, mean = p x + q score. */
interface Predictor {
  readonly p: number;
  readonly q: number;
  readonly spread: number;
  /** The corrector's step is scaled by the level's alpha_i: 1 - beta in VP, 1 in VE. */
  readonly scale: number;
}

/**
 * Predictor-corrector sampling of the variance-exploding SDE: Langevin steps at each level, then the reverse diffusion
 * x' = x + (sigma^2 - sigma'^2) score + sqrt(sigma^2 - sigma'^2) z. Song et al. 2021 (arXiv 2011.13456), algorithms 2 and
 * 4. The last step leaves its noise out.
 */
export function pcVe(options: CorrectorOptions = {}): Solver<'ve', 'estimate'> {
  return solver({
    name: 'pc-ve',
    kinds: ['ve'],
    stochastic: true,
    step: (i, state, means) =>
      pcStep(i, state, means, options, (from, to) => {
        const g2 = from.sigma ** 2 - to.sigma ** 2;
        return { p: 1, q: g2, spread: Math.sqrt(g2), scale: 1 };
      }),
  });
}

/**
 * The same for the variance-preserving SDE: x' = (2 - sqrt(1 - beta)) x + beta score + sqrt(beta) z, beta that of the step
 * between the rows. Song et al. 2021, algorithms 3 and 5.
 */
export function pcVp(options: CorrectorOptions = {}): Solver<'vp', 'estimate'> {
  return solver({
    name: 'pc-vp',
    kinds: ['vp'],
    stochastic: true,
    step: (i, state, means) =>
      pcStep(i, state, means, options, (from, to) => {
        const kept = (from.alpha / to.alpha) ** 2;
        return { p: 2 - Math.sqrt(kept), q: 1 - kept, spread: Math.sqrt(1 - kept), scale: kept };
      }),
  });
}

function pcStep<V>(
  i: number,
  { x: start }: State<V>,
  { space, table, estimate, noise }: SolverContext<V>,
  { snr = 0.16, correctorSteps = 1 }: CorrectorOptions,
  predictor: (from: NoiseLevel, to: NoiseLevel) => Predictor,
): StepResult<V> {
  const level = levelAt(table, i);
  const to = levelAt(table, i + 1);
  const { p, q, spread, scale } = predictor(level, to);
  // score = (alpha D - x) / sigma^2
  const scoreOf = (y: V, x0: V) => space.combine([level.alpha / level.sigma ** 2, x0], [-1 / level.sigma ** 2, y]);
  let x = start;
  for (let k = 0; k < correctorSteps; k++) {
    const score = scoreOf(x, estimate(x, level));
    const z = noise(level, level);
    const size = 2 * scale * ((snr * space.meanNorm(z)) / space.meanNorm(score)) ** 2;
    x = space.combine([1, x], [size, score], [Math.sqrt(2 * size), z]);
  }
  const x0 = estimate(x, level);
  const last = i + 1 === rowSteps(table);
  const mean = space.combine([p, x], [q, scoreOf(x, x0)]);
  const next = last ? mean : space.combine([1, mean], [spread, noise(level, to)]);
  return { x: next, x0, level, memory: [], numbers: [] };
}
