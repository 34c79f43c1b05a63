import type { NoiseLevel } from '@mezzotint/core';
import {
  dpmWeights,
  exchanged,
  lagrangeWeights,
  type MultistepWeights,
  phi2,
  type SecondOrder,
} from '../exponential.js';
import { halfLogSnr, levelAt } from '../schedules/schedule.js';
import {
  ANY,
  DIFFUSION,
  rowSteps,
  type Solver,
  type SolverContext,
  type State,
  type StepResult,
  solver,
} from '../solver.js';
import type { DpmOptions } from './dpm-multistep.js';
import { levelsBack, needsSignal, noiseOf, weighted } from './parts.js';

/**
 * DPM-Solver++ singlestep on the table's rows: blocks of `order` rows, each solved anew from the block's start with the
 * predictions made so far; one evaluation a row. DPMSolverSinglestep of diffusers; Lu et al. 2022, algorithm 1.
 */
export function dpmppSinglestep(options: DpmOptions = {}): Solver<'vp' | 've' | 'flow', 'estimate'> {
  const { order = 2 } = options;
  return solver({
    name: `dpmpp-${order}s`,
    kinds: ANY,
    step: (i, state, means) => singlestep(i, state, means, options, (_x, x0) => x0, blockWeights),
  });
}

/** DPM-Solver singlestep on the noise predictions. Lu et al. 2022 (arXiv 2206.00927). */
export function dpmSolverSinglestep(options: DpmOptions = {}): Solver<'vp' | 've', 'estimate'> {
  const { order = 2 } = options;
  return solver({
    name: `dpm-solver-${order}s`,
    kinds: DIFFUSION,
    problems: needsSignal,
    step: (i, state, means) =>
      singlestep(
        i,
        state,
        means,
        options,
        (x, x0) => noiseOf(means.space, x, x0, levelAt(means.table, i)),
        (to, nodes, type) => blockWeights(exchanged(to), nodes.map(exchanged), type),
      ),
  });
}

/**
 * The order of each step: blocks 1, 2, .., order, and what is left at the end in lower orders. The last is 1 when it goes to
 * sigma = 0, and when the order falls and a full block would end there.
 */
export function singlestepOrders(
  steps: number,
  order: 1 | 2 | 3,
  { lowerOrderFinal, toZero }: { readonly lowerOrderFinal: boolean; readonly toZero: boolean },
): number[] {
  const orders = Array.from({ length: steps }, (_, i) => (i % order) + 1);
  if (toZero || (lowerOrderFinal && steps % order === 0)) orders[steps - 1] = 1;
  return orders;
}

/** Weights from the block's start: nodes are oldest last, and x is at the oldest. */
function blockWeights(to: NoiseLevel, nodes: readonly NoiseLevel[], type: SecondOrder): MultistepWeights {
  const start = nodes[nodes.length - 1]!;
  const h = halfLogSnr(to) - halfLogSnr(start);
  if (nodes.length === 1 || !Number.isFinite(h)) {
    const first = dpmWeights(to, [start]);
    return { ...first, w: [...nodes.slice(1).map(() => 0), ...first.w] };
  }
  if (type !== 'midpoint') return lagrangeWeights(start, to, nodes);
  const q = -to.alpha * Math.expm1(-h);
  const r = (halfLogSnr(nodes[0]!) - halfLogSnr(start)) / h;
  // Order 2: q/2 times the slope of the newest; order 3 (midpoint): alpha' phi_2 times it.
  const c = (nodes.length === 2 ? q / 2 : to.alpha * phi2(h)) / r;
  return { p: to.sigma / start.sigma, w: nodes.length === 2 ? [c, q - c] : [c, 0, q - c], noise: 0 };
}

function singlestep<V>(
  i: number,
  { x, memory }: State<V>,
  { space, table, estimate }: SolverContext<V>,
  { order = 2, type = 'midpoint', lowerOrderFinal = false }: DpmOptions,
  predictionOf: (x: V, x0: V) => V,
  weigh: (to: NoiseLevel, nodes: readonly NoiseLevel[], type: SecondOrder) => MultistepWeights,
): StepResult<V> {
  const steps = rowSteps(table);
  const level = levelAt(table, i);
  const to = levelAt(table, i + 1);
  const toZero = table.sigma[steps] === 0;
  const orders = singlestepOrders(steps, order, { lowerOrderFinal, toZero });
  // Memory: the block's start, then its predictions, newest first. A step of order 1 starts a block, as does a run's first.
  const count = Math.min(orders[i]!, Math.max(memory.length, 1));
  const x0 = estimate(x, level);
  const prediction = predictionOf(x, x0);
  const [start, ...before] = count === 1 ? [x] : memory;
  const predictions = [prediction, ...before];
  const { p, w } = weigh(to, levelsBack(table, i, count), type);
  const next = weighted(space, p, start!, w, predictions);
  return { x: next, x0, level, memory: [start!, ...predictions], numbers: [] };
}
