import type { NoiseLevel } from '@mezzotint/core';
import { firstOrder } from '../coefficients.js';
import { levelAt } from '../schedules/schedule.js';
import { DIFFUSION, type Solver, type SolverContext, type State, type StepResult, solver } from '../solver.js';
import { ancestralSplit } from './ancestral.js';
import { between } from './dpm2.js';
import { addNoise, needsSignal } from './parts.js';

/** Share of fresh noise of the ancestral forms. */
export interface EtaOptions {
  /** 0 is the ODE, 1 (the default) the largest that keeps the marginals. */
  readonly eta?: number;
}

/**
 * DPM-Solver++(2S) down to a lower level, then fresh noise up to the row; two evaluations a step. k-diffusion,
 * sample_dpmpp_2s_ancestral; Lu et al. 2022 (arXiv 2211.01095), algorithm 1.
 */
export function dpmpp2sAncestral({ eta = 1 }: EtaOptions = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'dpmpp-2s-ancestral',
    kinds: DIFFUSION,
    stochastic: eta !== 0,
    step(i, { x }, { space, table, estimate, noise }) {
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const { down, up } = ancestralSplit(level, to, eta);
      const x0 = estimate(x, level);
      const last = firstOrder(level, down);
      const rest = { x0, level, memory: [], numbers: [] };
      if (down.sigma === 0) return { ...rest, x: space.combine([last.p, x], [last.q, x0]) };
      const middle = between(table.kind, level, down);
      const half = firstOrder(level, middle);
      const x02 = estimate(space.combine([half.p, x], [half.q, x0]), middle);
      const mean = space.combine([last.p, x], [last.q, x02]);
      return { ...rest, x: addNoise(space, mean, up, () => noise(level, to)) };
    },
  });
}

/**
 * DPM-Solver++ for the SDE, singlestep of second order: noise at the midpoint and at the end; two evaluations a step.
 * k-diffusion, sample_dpmpp_sde (r = 1/2). With a Brownian noise source both draws are of one path.
 */
export function dpmppSdeSinglestep({ eta = 1 }: EtaOptions = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'dpmpp-sde',
    kinds: DIFFUSION,
    stochastic: eta !== 0,
    problems: needsSignal,
    step<V>(i: number, { x }: State<V>, { space, table, estimate, noise }: SolverContext<V>): StepResult<V> {
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const x0 = estimate(x, level);
      const go = (y: V, target: NoiseLevel): V => {
        const { down, up } = ancestralSplit(level, target, eta);
        const { p, q } = firstOrder(level, down);
        return addNoise(space, space.combine([p, x], [q, y]), up, () => noise(level, target));
      };
      const rest = { x0, level, memory: [], numbers: [] };
      if (to.sigma === 0) return { ...rest, x: go(x0, to) };
      const middle = between(table.kind, level, to);
      return { ...rest, x: go(estimate(go(x0, middle), middle), to) };
    },
  });
}
