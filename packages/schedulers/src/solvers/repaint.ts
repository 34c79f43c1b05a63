import { InvalidArgumentError } from '@mezzotint/core';
import { posterior } from '../coefficients.js';
import { levelAt } from '../schedules/schedule.js';
import { rowSteps, type Solver, type SolverContext, type State, type StepResult, solver } from '../solver.js';

/** What stays, and how often the rest is painted again. */
export interface RepaintOptions {
  /** The picture, row-major `[N, H, W, C]`, in [-1, 1]. */
  readonly known: Float32Array;
  /** 1 where the picture stays, 0 where it is painted; of the same shape. */
  readonly mask: Float32Array;
  /** j: rows that a jump goes back; 10. */
  readonly jump?: number;
  /** r: times that each stretch is painted; 10. */
  readonly resample?: number;
}

/**
 * RePaint: ancestral steps in which the known part comes from the picture itself, with jumps back through the forward
 * chain so that both parts agree. Lugmayr et al. 2022 (arXiv 2201.09865), algorithm 1 and appendix B. A step of the run is
 * one move, down (one evaluation) or up (none).
 */
export function repaint({ known, mask, jump = 10, resample = 10 }: RepaintOptions): Solver<'vp', 'estimate'> {
  if (known.length !== mask.length) {
    throw new InvalidArgumentError('repaint', `known has ${known.length} numbers, mask ${mask.length}; give one each`);
  }
  return solver({
    name: 'repaint',
    kinds: ['vp'],
    stochastic: true,
    steps: (table) => repaintRows(rowSteps(table), jump, resample).length - 1,
    // Memory: the last estimate, to report it in moves that make none.
    step<V>(i: number, { x, memory }: State<V>, { space, table, estimate, noise }: SolverContext<V>): StepResult<V> {
      const rows = repaintRows(rowSteps(table), jump, resample);
      const level = levelAt(table, rows[i]!);
      const to = levelAt(table, rows[i + 1]!);
      if (rows[i + 1]! < rows[i]!) {
        const a = to.alpha / level.alpha;
        const up = space.combine([a, x], [Math.sqrt(to.sigma ** 2 - (a * level.sigma) ** 2), noise(level, to)]);
        return { x: up, x0: memory[0]!, level, memory, numbers: [] };
      }
      const x0 = estimate(x, level);
      const { p, q, small } = posterior(level, to);
      const keep = space.fromHost(mask);
      const picture = space.fromHost(known);
      let mean = space.combine([p, x], [q, x0]);
      let there = space.combine([to.alpha, picture]);
      if (to.sigma > 0) {
        there = space.combine([1, there], [to.sigma, noise(level, to)]);
        mean = space.combine([1, mean], [Math.sqrt(small), noise(level, to)]);
      }
      const next = space.combine([1, mean], [1, space.multiply(keep, space.combine([1, there], [-1, mean]))]);
      return { x: next, x0, level, memory: [x0], numbers: [] };
    },
  });
}

/**
 * The rows visited: down one at a time; on first reaching each multiple of `jump` rows before the last noisy one, back up by
 * `jump` and down again, `resample` - 1 times.
 */
export function repaintRows(steps: number, jump: number, resample: number): number[] {
  const left = new Map<number, number>();
  for (let t = 0; t < steps - jump; t += jump) left.set(t, resample - 1);
  // t counts noisy rows from the clean end: row = steps - 1 - t, and t = -1 is the clean row.
  const rows = [0];
  let t = steps - 1;
  while (t >= 0) {
    const again = left.get(t) ?? 0;
    if (again > 0 && rows.length > 1) {
      left.set(t, again - 1);
      for (let k = 0; k < jump; k++) rows.push(steps - 1 - ++t);
    }
    rows.push(steps - 1 - --t);
  }
  return rows;
}
