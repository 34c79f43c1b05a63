import { firstOrder } from '../coefficients.js';
import { exchanged, lagrangeWeights } from '../exponential.js';
import { levelAt } from '../schedules/schedule.js';
import { DIFFUSION, rowSteps, type Solver, solver } from '../solver.js';
import { levelsBack, needsSignal, noiseOf, orderAt, weighted } from './parts.js';

/**
 * DEIS (log-rho): exponential Adams-Bashforth on the noise predictions, polynomials in lambda integrated exactly; one
 * evaluation a step. Zhang & Chen 2023 (arXiv 2204.13902).
 *
 * @param options order 1 to 4, by default 2; lowerOrderFinal as in `dpmpp`
 */
export function deis({
  order = 2,
  lowerOrderFinal,
}: {
  readonly order?: 1 | 2 | 3 | 4;
  readonly lowerOrderFinal?: boolean;
} = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: `deis-${order}`,
    kinds: DIFFUSION,
    problems: needsSignal,
    step(i, { x, memory }, { space, table, estimate }) {
      const steps = rowSteps(table);
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const x0 = estimate(x, level);
      const noises = [noiseOf(space, x, x0, level), ...memory];
      const keep = { x0, level, memory: noises.slice(0, order - 1), numbers: [] };
      const count = orderAt(order, memory.length, steps - i, lowerOrderFinal ?? steps < 15);
      if (to.sigma === 0) {
        const { p, q } = firstOrder(level, to);
        return { ...keep, x: space.combine([p, x], [q, x0]) };
      }
      const { p, w } = lagrangeWeights(exchanged(level), exchanged(to), levelsBack(table, i, count).map(exchanged));
      return { ...keep, x: weighted(space, p, x, w, noises) };
    },
  });
}
