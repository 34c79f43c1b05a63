import { levelAt, noiseRatio } from '../schedules/schedule.js';
import { DIFFUSION, rowSteps, type Solver, solver } from '../solver.js';
import { heunStep } from './heun.js';
import { needsSignal } from './parts.js';

/** How much noise is churned, and where. Table 5 of the paper has values that suit its models. */
export interface ChurnOptions {
  /** S_churn: noise added over the whole run; 0 is Heun. */
  readonly churn?: number;
  /** S_tmin and S_tmax: churn only at these noise ratios sigma / alpha. */
  readonly min?: number;
  readonly max?: number;
  /** S_noise: standard deviation of the added noise, 1 or a little more. */
  readonly noise?: number;
}

/**
 * EDM's stochastic sampler: raise the noise by a factor 1 + gamma, gamma = min(S_churn / N, sqrt(2) - 1), then a Heun step
 * from there. Karras et al. 2022, algorithm 2. It evaluates between the table's rows: give the denoiser a clock.
 */
export function edmStochastic({
  churn = 40,
  min = 0.05,
  max = 50,
  noise: spread = 1.003,
}: ChurnOptions = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'edm-stochastic',
    kinds: DIFFUSION,
    stochastic: churn > 0,
    problems: needsSignal,
    step(i, { x }, means) {
      const { space, table, noise } = means;
      const row = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const r = noiseRatio(row);
      const gamma = r >= min && r <= max ? Math.min(churn / rowSteps(table), Math.SQRT2 - 1) : 0;
      if (gamma === 0) {
        return { ...heunStep(x, row, to, means, ({ alpha }) => alpha), level: row, memory: [], numbers: [] };
      }
      const level = { alpha: row.alpha, sigma: row.sigma * (1 + gamma) };
      const added = spread * Math.sqrt(level.sigma ** 2 - row.sigma ** 2);
      const raised = space.combine([1, x], [added, noise(row, level)]);
      return { ...heunStep(raised, level, to, means, ({ alpha }) => alpha), level, memory: [], numbers: [] };
    },
  });
}
