import type { NoiseLevel } from '@mezzotint/core';
import { lagrangeWeights, type MultistepWeights } from '../exponential.js';
import { halfLogSnr, levelAt } from '../schedules/schedule.js';
import { ANY, rowSteps, type Solver, solver } from '../solver.js';
import { addNoise, levelsBack, orderAt, weighted } from './parts.js';

/** How SA-Solver is set up. */
export interface SaOptions {
  /** Stochasticity at a level: 0 is the ODE, 1 the reverse SDE. By default 1 everywhere. */
  readonly tau?: (at: NoiseLevel) => number;
  readonly predictorOrder?: 1 | 2 | 3;
  /** 0 leaves the corrector out. */
  readonly correctorOrder?: 0 | 1 | 2 | 3;
  /** Let the orders fall over the last steps; true. */
  readonly lowerOrderFinal?: boolean;
  /**
   * `exact` integrates the polynomials; `few-steps` adds the third-order terms to the second-order weights that the
   * reference code and diffusers use.
   */
  readonly weights?: 'exact' | 'few-steps';
}

/**
 * SA-Solver: stochastic Adams-Bashforth with an Adams-Moulton corrector that reuses the next evaluation and the same noise.
 * Xue et al. 2023 (arXiv 2309.05019), algorithm 1.
 */
export function saSolver({
  tau = () => 1,
  predictorOrder = 2,
  correctorOrder = 2,
  lowerOrderFinal = true,
  weights = 'few-steps',
}: SaOptions = {}): Solver<'vp' | 've' | 'flow', 'estimate'> {
  const kept = Math.max(predictorOrder, correctorOrder - 1);
  return solver({
    name: 'sa-solver',
    kinds: ANY,
    stochastic: true,
    // Memory: x before the last step, its noise, then the estimates newest first.
    step(i, { x, memory }, { space, table, estimate, noise }) {
      const steps = rowSteps(table);
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const x0 = estimate(x, level);
      const [start, lastNoise, ...before] = memory;
      let corrected = x;
      if (correctorOrder > 0 && start && lastNoise) {
        const from = levelAt(table, i - 1);
        const count = Math.min(correctorOrder, before.length + 1, lowerOrderFinal ? steps - i + 2 : correctorOrder);
        const nodes = levelsBack(table, i, count);
        const c = stochasticAdams(from, level, nodes, tau(from), weights === 'few-steps' ? moultonExtra : none);
        corrected = addNoise(space, weighted(space, c.p, start, c.w, [x0, ...before]), c.noise, () => lastNoise);
      }
      const estimates = [x0, ...before];
      const fresh = noise(level, to);
      const count = orderAt(predictorOrder, before.length, steps - i, lowerOrderFinal);
      const nodes = levelsBack(table, i, count);
      const c = stochasticAdams(level, to, nodes, tau(level), weights === 'few-steps' ? bashforthExtra : none);
      const next = addNoise(space, weighted(space, c.p, corrected, c.w, estimates), c.noise, () => fresh);
      return { x: next, x0, level, memory: [corrected, fresh, ...estimates.slice(0, kept)], numbers: [] };
    },
  });
}

/** Adds to the newest weight and takes from the second, in order 2. */
type Extra = (c: number, h: number, before: number) => number;

const none: Extra = () => 0;

/** (h^2/2 - (c h - 1 + e^(-c h)) / c^2) / (lambda - lambda_before). */
const bashforthExtra: Extra = (c, h, before) => (h ** 2 / 2 - (c * h + Math.expm1(-c * h)) / c ** 2) / before;

/** h/2 - (c h - 1 + e^(-c h)) / (c^2 h). */
const moultonExtra: Extra = (c, h) => h / 2 - (c * h + Math.expm1(-c * h)) / (c ** 2 * h);

function stochasticAdams(
  from: NoiseLevel,
  to: NoiseLevel,
  nodes: readonly NoiseLevel[],
  tau: number,
  extra: Extra,
): MultistepWeights {
  const h = halfLogSnr(to) - halfLogSnr(from);
  if (!Number.isFinite(h)) {
    // The ends: all of the estimate, and noise only when some is left.
    const p = tau > 0 ? 0 : to.sigma / from.sigma;
    return { p, w: [to.alpha - from.alpha * p], noise: tau > 0 ? to.sigma : 0 };
  }
  const usable = nodes.filter(({ alpha }) => alpha > 0);
  const exact = lagrangeWeights(from, to, usable, tau);
  if (usable.length !== 2) return exact;
  const c = 1 + tau ** 2;
  const delta = c * to.alpha * extra(c, h, halfLogSnr(usable[0]!) - halfLogSnr(usable[1]!));
  return { ...exact, w: [exact.w[0]! + delta, exact.w[1]! - delta] };
}
