import { InvalidArgumentError } from '@mezzotint/core';
import { firstOrder } from '../coefficients.js';
import { exchanged } from '../exponential.js';
import type { SavedRun } from '../run.js';
import { levelAt } from '../schedules/schedule.js';
import { DIFFUSION, rowSteps, type Solver, solver } from '../solver.js';
import { needsSignal, noiseOf } from './parts.js';

/**
 * DDIM backwards: from a picture (the table's last row) to the noise that DDIM makes it from (its first). Each step takes the
 * noise that the network sees at the level it goes to, as DDIMInverse of diffusers does; with more than one iteration the
 * evaluation is repeated where the step arrived, and the answer approaches the exact inverse (a fixed point of DDIM's step).
 * Song et al. 2021, section 4.3.
 *
 * @param options iterations, evaluations a step; 1
 */
export function ddimInverse({
  iterations = 1,
}: {
  readonly iterations?: number;
} = {}): Solver<'vp' | 've', 'estimate'> {
  if (!(Number.isInteger(iterations) && iterations >= 1)) {
    throw new InvalidArgumentError('ddim-inverse', `iterations must be an integer of at least 1, got ${iterations}`);
  }
  return solver({
    name: 'ddim-inverse',
    kinds: DIFFUSION,
    problems: needsSignal,
    step(i, { x }, { space, table, estimate }) {
      const row = rowSteps(table) - i;
      const from = levelAt(table, row);
      const to = levelAt(table, row - 1);
      const { p, q } = firstOrder(exchanged(from), exchanged(to));
      let next = x;
      let x0 = x;
      for (let k = 0; k < iterations; k++) {
        x0 = estimate(next, to);
        next = space.combine([p, x], [q, noiseOf(space, next, x0, to)]);
      }
      return { x: next, x0, level: to, memory: [], numbers: [] };
    },
  });
}

/** Options of EDICT. */
export interface EdictOptions {
  /** Share of each of the two pictures that stays its own in the mixing; 0.93. */
  readonly mixing?: number;
}

/**
 * EDICT: DDIM on two coupled pictures, each stepping by the noise seen in the other, so that every step can be undone exactly;
 * two evaluations a step. Wallace et al. 2022 (arXiv 2211.12446), section 4. The second picture starts as a copy.
 */
export function edict({ mixing = 0.93 }: EdictOptions = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'edict',
    kinds: DIFFUSION,
    problems: needsSignal,
    step(i, { x, memory }, { space, table, estimate }) {
      const level = levelAt(table, i);
      const y = memory[0] ?? x;
      const { p, q } = firstOrder(exchanged(level), exchanged(levelAt(table, i + 1)));
      const x0 = estimate(y, level);
      const xHalf = space.combine([p, x], [q, noiseOf(space, y, x0, level)]);
      const yHalf = space.combine([p, y], [q, noiseOf(space, xHalf, estimate(xHalf, level), level)]);
      const next = space.combine([mixing, xHalf], [1 - mixing, yHalf]);
      const yNext = space.combine([mixing, yHalf], [1 - mixing, next]);
      return { x: next, x0, level, memory: [yNext], numbers: [] };
    },
  });
}

/**
 * EDICT backwards: from a picture to the pair of noises that `edict` makes it from, exactly (up to rounding). Save the last
 * step and pass it through `edictStart` to come back.
 */
export function edictInverse({ mixing = 0.93 }: EdictOptions = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'edict-inverse',
    kinds: DIFFUSION,
    problems: needsSignal,
    step(i, { x, memory }, { space, table, estimate }) {
      const row = rowSteps(table) - i;
      const level = levelAt(table, row - 1);
      const yNext = memory[0] ?? x;
      const { p, q } = firstOrder(exchanged(level), exchanged(levelAt(table, row)));
      const yHalf = space.combine([1 / mixing, yNext], [(mixing - 1) / mixing, x]);
      const xHalf = space.combine([1 / mixing, x], [(mixing - 1) / mixing, yHalf]);
      const before = noiseOf(space, xHalf, estimate(xHalf, level), level);
      const y = space.combine([1 / p, yHalf], [-q / p, before]);
      const x0 = estimate(y, level);
      const next = space.combine([1 / p, xHalf], [-q / p, noiseOf(space, y, x0, level)]);
      return { x: next, x0, level, memory: [y], numbers: [] };
    },
  });
}

/** The start of an `edict` run from the end of an `edictInverse` run. */
export function edictStart(inverted: SavedRun): SavedRun {
  if (inverted.solver !== 'edict-inverse') {
    throw new InvalidArgumentError(
      'edictStart',
      `expected a saved run of edict-inverse, got one of ${inverted.solver}`,
    );
  }
  return { ...inverted, solver: 'edict', index: 0, evaluations: 0 };
}
