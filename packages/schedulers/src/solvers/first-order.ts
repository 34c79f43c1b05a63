import type { NoiseLevel } from '@mezzotint/core';
import type { Clipping } from '../clipping.js';
import { firstOrder, posterior, renoised, type StepWeights } from '../coefficients.js';
import type { DiscreteProcess } from '../schedules/process.js';
import { levelAt, type ScheduleKind } from '../schedules/schedule.js';
import {
  ANY,
  DIFFUSION,
  rowLevel,
  rowSteps,
  type Solver,
  type SolverContext,
  type State,
  type StepResult,
  solver,
} from '../solver.js';
import { addNoise } from './parts.js';
import { needsWholeTimes, strideOf } from './stride.js';

/**
 * Euler's method of the probability-flow ODE. EDM (Karras et al. 2022), eq. 4; on flow tables the Euler step of
 * rectified flow; the same numbers as DDIM with eta = 0.
 */
export function euler(): Solver<'vp' | 've' | 'flow', 'estimate'> {
  return solver({ name: 'euler', kinds: ANY, step: (i, state, means) => oneEstimate(i, state, means, firstOrder) });
}

/** How DDIM is set up. */
export interface DdimOptions {
  /** Share of DDPM's standard deviation; 0. */
  readonly eta?: number;
  /**
   * Brings the estimates into a range and keeps the noise that they implied before: what diffusers does with clip_sample and
   * thresholding. With `clamped` or `thresholded` around the model the noise follows from the limited estimate instead.
   */
  readonly limit?: Clipping | null;
  /** Steps by the constant stride of this forward process, as diffusers does, instead of to the next row (`Stride`). */
  readonly process?: DiscreteProcess;
}

/** DDIM. eta = 0 is deterministic; eta = 1 has the variance of DDPM's small. Song et al. 2021, eq. 12 and 16. */
export function ddim(options?: Omit<DdimOptions, 'process'>): Solver<'vp' | 've' | 'flow', 'estimate'>;
export function ddim(options: DdimOptions): Solver<'vp', 'estimate'>;
export function ddim({ eta = 0, limit = null, process }: DdimOptions = {}): Solver<ScheduleKind, 'estimate'> {
  return solver<ScheduleKind>({
    name: 'ddim',
    kinds: process ? ['vp'] : ANY,
    stochastic: eta !== 0,
    problems: (table) => (process ? needsWholeTimes(process, table) : []),
    step(i, { x }, { space, table, estimate, noise }) {
      const level = levelAt(table, i);
      const to = process ? strideOf(process, table).below(level.time!) : levelAt(table, i + 1);
      const { p, q, noise: fresh } = renoised(level, to, eta === 0 ? 0 : eta * Math.sqrt(posterior(level, to).small));
      const raw = estimate(x, level);
      const x0 = limit ? space.limit(raw, limit) : raw;
      // x' = p x + q raw, with alpha' raw in it replaced by alpha' x0.
      const drift = limit
        ? space.combine([p, x], [q - to.alpha, raw], [to.alpha, x0])
        : space.combine([p, x], [q, raw]);
      const next = addNoise(space, drift, fresh, () => noise(level, to));
      return { x: next, x0, level, memory: [], numbers: [] };
    },
  });
}

/** DDPM's ancestral sampling with the smaller fixed variance, beta tilde. Ho et al. 2020, algorithm 2. */
export function ddpm(): Solver<'vp' | 've', 'estimate'> {
  return ancestral('ddpm', (from, to) => posterior(from, to).small);
}

/**
 * DDPM's ancestral sampling with the larger fixed variance, beta. Ho et al. 2020, section 3.2.
 *
 * @param options noiseAtEnd, whether the step to sigma = 0 adds noise too; diffusers does so unless it comes from t = 0
 */
export function ddpmLarge({
  noiseAtEnd = false,
}: {
  readonly noiseAtEnd?: boolean;
} = {}): Solver<'vp' | 've', 'estimate'> {
  return ancestral('ddpm-large', (from, to) =>
    to.sigma > 0 || (noiseAtEnd && from.time !== 0) ? posterior(from, to).large : 0,
  );
}

/**
 * Ancestral sampling with a learned variance: log variance = v log beta + (1 - v) log beta tilde, v the network's interpolation.
 * Improved DDPM (Nichol & Dhariwal 2021), eq. 15; ADM, DiT.
 */
export function ddpmLearned(): Solver<'vp' | 've', 'variance'> {
  return {
    name: 'ddpm-learned',
    kinds: DIFFUSION,
    needs: 'variance',
    stochastic: true,
    steps: rowSteps,
    level: rowLevel,
    problems: () => [],
    step<V>(i: number, { x }: State<V>, means: SolverContext<V>): StepResult<V> {
      const { space, table } = means;
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const { x0, interpolation } = means.estimateWithVariance(x, level);
      const { p, q, small, large } = posterior(level, to);
      const mean = space.combine([p, x], [q, x0]);
      if (to.sigma === 0) return { x: mean, x0, level, memory: [], numbers: [] };
      // Half the log variance is low + interpolation (high - low), so its exponential is the standard deviation.
      const low = Math.log(small) / 2;
      const high = Math.log(large) / 2;
      const widen = space.exp(space.combine([high - low, interpolation]));
      const next = space.combine([1, mean], [Math.exp(low), space.multiply(widen, means.noise(level, to))]);
      return { x: next, x0, level, memory: [], numbers: [] };
    },
  };
}

function ancestral(
  name: string,
  variance: (from: NoiseLevel, to: NoiseLevel) => number,
): Solver<'vp' | 've', 'estimate'> {
  const weights = (from: NoiseLevel, to: NoiseLevel) => {
    const { p, q } = posterior(from, to);
    return { p, q, noise: Math.sqrt(variance(from, to)) };
  };
  return solver({
    name,
    kinds: DIFFUSION,
    stochastic: true,
    step: (i, state, means) => oneEstimate(i, state, means, weights),
  });
}

/** A step x' = p x + q D + noise z from row i to row i + 1. */
export function oneEstimate<V>(
  i: number,
  { x }: State<V>,
  means: SolverContext<V>,
  weights: (from: NoiseLevel, to: NoiseLevel) => StepWeights,
): StepResult<V> {
  const level = levelAt(means.table, i);
  const to = levelAt(means.table, i + 1);
  const { p, q, noise } = weights(level, to);
  const x0 = means.estimate(x, level);
  const drift = means.space.combine([p, x], [q, x0]);
  const next = noise === 0 ? drift : means.space.combine([1, drift], [noise, means.noise(level, to)]);
  return { x: next, x0, level, memory: [], numbers: [] };
}
