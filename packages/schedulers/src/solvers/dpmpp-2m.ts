import type { NoiseLevel } from '@mezzotint/core';
import { firstOrder } from '../coefficients.js';
import { ANY, type Solver, solver } from '../solver.js';
import { halfLogSnr, levelAt } from '../tables/table.js';

/** How the second-order term of DPM-Solver++(2M) is weighted. */
export interface Dpmpp2mOptions {
  /**
   * `midpoint` (the paper and k-diffusion) weighs D - D_before by h / (2 h_before); `heun` integrates the line through
   * both exactly in lambda (solver_type heun of diffusers).
   */
  readonly type?: 'midpoint' | 'heun';
}

/**
 * Weights of x, D and the D before: x' = p x + (q + c) D - c D_before.
 *
 * With h = lambda' - lambda and h_b the step before: midpoint c = q h / (2 h_b). DPM-Solver++ (Lu et al. 2022),
 * algorithm 2.
 */
export function dpmpp2mWeights(
  before: NoiseLevel,
  from: NoiseLevel,
  to: NoiseLevel,
  type: 'midpoint' | 'heun' = 'midpoint',
): { readonly p: number; readonly q: number; readonly c: number } {
  const { p, q } = firstOrder(from, to);
  const h = halfLogSnr(to) - halfLogSnr(from);
  const hBefore = halfLogSnr(from) - halfLogSnr(before);
  // A step to sigma = 0 (h infinite) is first order; so is one after a row with no signal (h_b infinite).
  if (!Number.isFinite(h) || !Number.isFinite(hBefore)) return { p, q, c: 0 };
  if (type === 'midpoint') return { p, q, c: (q * h) / (2 * hBefore) };
  return { p, q, c: (to.alpha * (h + Math.expm1(-h))) / hBefore };
}

/** DPM-Solver++(2M): second order, multistep, one evaluation a step. Lu et al. 2022, algorithm 2. */
export function dpmpp2m({ type = 'midpoint' }: Dpmpp2mOptions = {}): Solver<'vp' | 've' | 'flow', 'estimate'> {
  return solver({
    name: 'dpmpp-2m',
    kinds: ANY,
    step(i, { x, memory }, { space, table, estimate }) {
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const x0 = estimate(x, level);
      const [before] = memory;
      if (!before) {
        const { p, q } = firstOrder(level, to);
        return { x: space.combine([p, x], [q, x0]), x0, level, memory: [x0], numbers: [] };
      }
      const { p, q, c } = dpmpp2mWeights(levelAt(table, i - 1), level, to, type);
      return { x: space.combine([p, x], [q + c, x0], [-c, before]), x0, level, memory: [x0], numbers: [] };
    },
  });
}
