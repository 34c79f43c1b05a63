import { productOfRoots } from '../polynomial.js';
import { levelAt, noiseRatio } from '../schedules/schedule.js';
import { DIFFUSION, type Solver, solver } from '../solver.js';
import { needsSignal, noiseOf, weighted } from './parts.js';

/**
 * Weights of the slopes in y' = y + sum w_k eps_k: the integral from r to r' of the Lagrange polynomials through the nodes.
 *
 * @param nodes noise ratios r = sigma / alpha of the slopes, newest first
 */
export function adamsWeights(nodes: readonly number[], from: number, to: number): number[] {
  const h = to - from;
  return nodes.map((node, k) => {
    // In u = r - from, so that high powers lose few digits.
    const others = nodes.filter((_, j) => j !== k);
    const poly = productOfRoots(others.map((other) => other - from));
    const integral = poly.reduce((sum, c, i) => sum + (c * h ** (i + 1)) / (i + 1), 0);
    return integral / others.reduce((product, other) => product * (node - other), 1);
  });
}

/** How the linear multistep method is set up. */
export interface LmsOptions {
  /** 1 to 4 slopes in a step; 4. */
  readonly order?: 1 | 2 | 3 | 4;
  /**
   * Weighs the slopes of a run that starts in the middle as if there had been steps before it, whose slopes are then left out:
   * what diffusers does in image to image, where the first steps come out too long. false.
   */
  readonly assumePast?: boolean;
}

/**
 * Linear multistep (Adams-Bashforth with variable steps) of dy/dr = eps for y = x / alpha, r = sigma / alpha; one
 * evaluation a step. k-diffusion, sample_lms.
 */
export function lms({ order = 4, assumePast = false }: LmsOptions = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'lms',
    kinds: DIFFUSION,
    problems: needsSignal,
    step(i, { x, memory }, { space, table, estimate }) {
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const x0 = estimate(x, level);
      const slopes = [noiseOf(space, x, x0, level), ...memory];
      const count = Math.min(order, assumePast ? i + 1 : slopes.length);
      const nodes = Array.from({ length: count }, (_, k) => noiseRatio(levelAt(table, i - k)));
      const w = adamsWeights(nodes, nodes[0]!, noiseRatio(to)).map((weight) => weight * to.alpha);
      const next = weighted(space, to.alpha / level.alpha, x, w.slice(0, slopes.length), slopes);
      return { x: next, x0, level, memory: slopes.slice(0, order - 1), numbers: [] };
    },
  });
}
