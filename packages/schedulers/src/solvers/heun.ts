import type { NoiseLevel } from '@mezzotint/core';
import { firstOrder } from '../coefficients.js';
import { type Advance, DIFFUSION, type Means, type Solver, type State, solver } from '../solver.js';
import { levelAt } from '../tables/table.js';
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
    step: (i, state, means) => heunStep(i, state, means, ({ alpha }) => alpha),
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
    step: (i, state, means) => heunStep(i, state, means, () => 1),
  });
}

/** Heun for y = x / g, r = sigma / g, where dy/dr = (y - c D) / r with a constant c. */
function heunStep<V>(
  i: number,
  { x }: State<V>,
  { space, table, estimate }: Means<V>,
  gauge: (level: NoiseLevel) => number,
): Advance<V> {
  const level = levelAt(table, i);
  const to = levelAt(table, i + 1);
  const x0 = estimate(x, level);
  const { p, q } = firstOrder(level, to);
  const euler = space.combine([p, x], [q, x0]);
  if (to.sigma === 0) return { x: euler, x0, level, memory: [], numbers: [] };
  // y' = y + (slope + slope') (r' - r) / 2; below in x = g y.
  const [g, g2] = [gauge(level), gauge(to)];
  const [r, r2] = [level.sigma / g, to.sigma / g2];
  const half = (r2 - r) / 2;
  const x02 = estimate(euler, to);
  const next = space.combine(
    [(g2 / g) * (1 + half / r), x],
    [-g2 * (half / r), x0],
    [half / r2, euler],
    [-g2 * (half / r2), x02],
  );
  return { x: next, x0, level, memory: [], numbers: [] };
}
