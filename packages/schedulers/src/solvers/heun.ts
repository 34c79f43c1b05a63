import { firstOrder } from '../coefficients.js';
import { DIFFUSION, type Solver, solver } from '../solver.js';
import { levelAt, noiseRatio } from '../tables/table.js';

/**
 * Heun's second-order method of dy/dr = (y - D) / r for y = x / alpha, r = sigma / alpha, with a first-order step to
 * r = 0. EDM (Karras et al. 2022), algorithm 1; two evaluations a step.
 */
export function heun(): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'heun',
    kinds: DIFFUSION,
    step(i, { x }, { space, table, estimate }) {
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const x0 = estimate(x, level);
      const { p, q } = firstOrder(level, to);
      const euler = space.combine([p, x], [q, x0]);
      if (to.sigma === 0) return { x: euler, x0, level, memory: [], numbers: [] };
      // y' = y + dr/2 (slope + slope'), slope = (y - D) / r; the weights below are those of x = alpha y.
      const [r, r2] = [noiseRatio(level), noiseRatio(to)];
      const half = (r2 - r) / 2;
      const x02 = estimate(euler, to);
      const next = space.combine(
        [(to.alpha / level.alpha) * (1 + half / r), x],
        [-to.alpha * (half / r), x0],
        [half / r2, euler],
        [-to.alpha * (half / r2), x02],
      );
      return { x: next, x0, level, memory: [], numbers: [] };
    },
  });
}
