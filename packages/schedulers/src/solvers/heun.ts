import type { NoiseLevel } from '@mezzotint/core';
import { firstOrder } from '../coefficients.js';
import { levelAt } from '../schedules/schedule.js';
import { DIFFUSION, type Solver, type SolverContext, solver } from '../solver.js';
import { needsSignal } from './parts.js';

/**
 * Heun's second-order method of dy/dr = (y - D) / r for y = x / alpha, r = sigma / alpha, with a first-order step to
 * r = 0. EDM (Karras et al. 2022), algorithm 1; two evaluations a step.
 */
export function heun(): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'heun',
    kinds: DIFFUSION,
    problems: needsSignal,
    step(i, { x }, means) {
      const level = levelAt(means.table, i);
      const next = heunStep(x, level, levelAt(means.table, i + 1), means, ({ alpha }) => alpha);
      return { ...next, level, memory: [], numbers: [] };
    },
  });
}

/**
 * Heun's method of rectified flow, dx/dsigma = (x - D) / sigma on the straight paths themselves; two evaluations a step.
 * FlowMatchHeunDiscrete of diffusers.
 */
export function flowHeun(): Solver<'flow', 'estimate'> {
  return solver({
    name: 'flow-heun',
    kinds: ['flow'],
    step(i, { x }, means) {
      const level = levelAt(means.table, i);
      const next = heunStep(x, level, levelAt(means.table, i + 1), means, () => 1);
      return { ...next, level, memory: [], numbers: [] };
    },
  });
}

/**
 * One Heun step of y = x / g, r = sigma / g, where dy/dr = (y - c D) / r with a constant c: y' = y + (r' - r) / 2
 * (slope + slope'). First order to sigma = 0.
 */
export function heunStep<V>(
  x: V,
  from: NoiseLevel,
  to: NoiseLevel,
  { space, estimate }: SolverContext<V>,
  gauge: (level: NoiseLevel) => number,
): { readonly x: V; readonly x0: V } {
  const x0 = estimate(x, from);
  const { p, q } = firstOrder(from, to);
  const euler = space.combine([p, x], [q, x0]);
  if (to.sigma === 0) return { x: euler, x0 };
  const [g, g2] = [gauge(from), gauge(to)];
  const [r, r2] = [from.sigma / g, to.sigma / g2];
  const half = (r2 - r) / 2;
  const x02 = estimate(euler, to);
  const next = space.combine(
    [(g2 / g) * (1 + half / r), x],
    [-g2 * (half / r), x0],
    [half / r2, euler],
    [-g2 * (half / r2), x02],
  );
  return { x: next, x0 };
}
