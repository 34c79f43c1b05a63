import type { NoiseLevel } from '@mezzotint/core';
import { firstOrder } from '../coefficients.js';
import { levelAt, levelOf, noiseRatio, type ScheduleKind } from '../schedules/schedule.js';
import { DIFFUSION, type Solver, type SolverContext, type State, type StepResult, solver } from '../solver.js';
import { ancestralSplit } from './ancestral.js';
import { addNoise, needsSignal } from './parts.js';

/**
 * DPM2: the midpoint method of dy/dr = eps for y = x / alpha, r = sigma / alpha, with the midpoint at sqrt(r r'); two
 * evaluations a step. k-diffusion, sample_dpm_2; KDPM2Discrete of diffusers.
 */
export function dpm2(): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'dpm2',
    kinds: DIFFUSION,
    problems: needsSignal,
    step: (i, state, means) => midpointStep(i, state, means, 0),
  });
}

/**
 * DPM2 down to a lower level, then fresh noise up to the row. k-diffusion, sample_dpm_2_ancestral.
 *
 * @param options eta, the share of the largest fresh noise; 1
 */
export function dpm2Ancestral({ eta = 1 }: { readonly eta?: number } = {}): Solver<'vp' | 've', 'estimate'> {
  return solver({
    name: 'dpm2-ancestral',
    kinds: DIFFUSION,
    stochastic: eta !== 0,
    // With eta 1 the first step forgets pure noise, and needs no midpoint.
    problems: (table) => (eta === 1 ? [] : needsSignal(table)),
    step: (i, state, means) => midpointStep(i, state, means, eta),
  });
}

function midpointStep<V>(
  i: number,
  { x }: State<V>,
  { space, table, estimate, noise }: SolverContext<V>,
  eta: number,
): StepResult<V> {
  const level = levelAt(table, i);
  const to = levelAt(table, i + 1);
  const { down, up } = ancestralSplit(level, to, eta);
  const x0 = estimate(x, level);
  const rest = { x0, level, memory: [], numbers: [] };
  if (down.sigma === 0) {
    const { p, q } = firstOrder(level, down);
    return { ...rest, x: addNoise(space, space.combine([p, x], [q, x0]), up, () => noise(level, to)) };
  }
  const middle = between(table.kind, level, down);
  const half = firstOrder(level, middle);
  const x2 = space.combine([half.p, x], [half.q, x0]);
  const x02 = estimate(x2, middle);
  // y' = y + (r' - r) slope, slope = (y_middle - D_middle) / r_middle.
  const weight = (down.alpha * (noiseRatio(down) - noiseRatio(level))) / noiseRatio(middle);
  const mean = space.combine([down.alpha / level.alpha, x], [weight / middle.alpha, x2], [-weight, x02]);
  return { ...rest, x: addNoise(space, mean, up, () => noise(level, to)) };
}

/** The level halfway in log(sigma / alpha). */
export function between(kind: ScheduleKind, from: NoiseLevel, to: NoiseLevel): NoiseLevel {
  return levelOf(kind, Math.sqrt(noiseRatio(from) * noiseRatio(to)));
}
