import { firstOrder, renoised } from '../coefficients.js';
import type { DiscreteProcess } from '../schedules/process.js';
import { levelAt, timestepSchedule } from '../schedules/schedule.js';
import { ANY, type Solver, solver } from '../solver.js';
import { oneEstimate } from './first-order.js';
import { addNoise } from './parts.js';

/**
 * Multistep consistency sampling: x' = alpha' D + sigma' z, the estimate noised anew. On a variance-preserving table with
 * `consistencyTimesteps` this is LCM's sampler (Luo et al. 2023); on Karras sigmas that of consistency models (Song et al.
 * 2023, arXiv 2303.01469), algorithm 1.
 *
 * @param options floor, the smallest noise ratio epsilon of the model, which counts as clean: sigma'^2 is less by its
 *   square; 0, and 0.002 in consistency models
 */
export function consistency({ floor = 0 }: { readonly floor?: number } = {}): Solver<'vp' | 've' | 'flow', 'estimate'> {
  return solver({
    name: 'consistency',
    kinds: ANY,
    stochastic: true,
    step: (i, state, means) =>
      oneEstimate(i, state, means, (from, to) => {
        const fresh = Math.sqrt(Math.max(to.sigma ** 2 - (to.alpha * floor) ** 2, 0));
        return { ...renoised(from, to, to.sigma), noise: fresh };
      }),
  });
}

/**
 * TCD: DDIM's step to the time s = floor((1 - gamma) t'), then the forward process from s to t'. Trajectory consistency
 * distillation (Zheng et al. 2024, arXiv 2402.19159), algorithm 4.
 *
 * @param options process, the forward process of the network; gamma, the share of stochasticity, 0.3
 */
export function tcd({
  process,
  gamma = 0.3,
}: {
  readonly process: DiscreteProcess;
  readonly gamma?: number;
}): Solver<'vp', 'estimate'> {
  return solver({
    name: 'tcd',
    kinds: ['vp'],
    stochastic: gamma > 0,
    problems: (table) => (table.time ? [] : ['needs a table with times']),
    step(i, { x }, { space, table, estimate, noise }) {
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const x0 = estimate(x, level);
      const between =
        to.sigma === 0 || gamma === 0
          ? to
          : levelAt(timestepSchedule(process, [Math.floor((1 - gamma) * to.time!)]), 0);
      const { p, q } = firstOrder(level, between);
      const a = to.alpha / between.alpha;
      const there = space.combine([a * p, x], [a * q, x0]);
      // The last step stays where the network put it.
      const fresh = i + 1 < table.alpha.length - 1 ? Math.sqrt(Math.max(1 - a * a, 0)) : 0;
      const next = addNoise(space, there, fresh, () => noise(between, to));
      return { x: next, x0, level, memory: [], numbers: [] };
    },
  });
}
