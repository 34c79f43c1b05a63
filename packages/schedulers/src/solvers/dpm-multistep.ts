import type { NoiseLevel } from '@mezzotint/core';
import { dpmWeights, exchanged, type MultistepWeights, type SecondOrder } from '../exponential.js';
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
import { addNoise, levelsBack, needsSignal, noiseOf, orderAt, weighted } from './parts.js';

/** Options that the multistep DPM-Solvers share. */
export interface DpmOptions {
  /** 1, 2 or 3 predictions in a step; 2. */
  readonly order?: 1 | 2 | 3;
  /** Weight of the second-order term; `midpoint`. */
  readonly type?: SecondOrder;
  /** Let the order fall to 1 over the last steps; by default in runs of fewer than 15 steps, as diffusers does. */
  readonly lowerOrderFinal?: boolean;
  /** Make the last step of order 1; false. euler_at_final of diffusers. */
  readonly eulerAtFinal?: boolean;
}

/** The stochastic forms. */
export interface DpmSdeOptions extends Omit<DpmOptions, 'type'> {
  /** Weight of the second-order term; `midpoint`, and `heun` in order 3. */
  readonly type?: 'midpoint' | 'heun';
  /** Share of fresh noise: 0 is the ODE, 1 the reverse SDE. */
  readonly eta?: number;
  /**
   * The third-order term of order 3: `exact` integrates it, as k-diffusion does; `diffusers` has its sde-dpmsolver++ of order 3,
   * where a sign is the other way round, which makes the term one of first order. `exact`.
   */
  readonly curvature?: 'exact' | 'diffusers';
}

/**
 * DPM-Solver++ multistep: an exponential integrator on the estimates of x0, one evaluation a step. Lu et al. 2022
 * (arXiv 2211.01095), algorithm 2.
 */
export function dpmpp(options: DpmOptions = {}): Solver<'vp' | 've' | 'flow', 'estimate'> {
  const { order = 2, type } = options;
  return solver({
    name: `dpmpp-${order}m`,
    kinds: ANY,
    step: (i, state, means) => dataStep(i, state, means, options, (to, nodes) => dpmWeights(to, nodes, type)),
  });
}

/** DPM-Solver++(2M), the default of many pipelines. */
export function dpmpp2m(options: Omit<DpmOptions, 'order'> = {}): Solver<'vp' | 've' | 'flow', 'estimate'> {
  return dpmpp({ ...options, order: 2 });
}

/**
 * DPM-Solver++ multistep for the reverse SDE: sde-dpmsolver++ of diffusers (eta 1), dpmpp_2m_sde and dpmpp_3m_sde of
 * k-diffusion. In order 3 the warm-up's second step is `heun`, as there.
 */
export function dpmppSde(options: DpmSdeOptions = {}): Solver<'vp' | 've' | 'flow', 'estimate'> {
  const { order = 2, type = order === 3 ? 'heun' : 'midpoint', eta = 1, curvature = 'exact' } = options;
  return solver({
    name: `dpmpp-${order}m-sde`,
    kinds: ANY,
    stochastic: eta !== 0,
    step: (i, state, means) =>
      dataStep(i, state, means, options, (to, nodes) => dpmWeights(to, nodes, type, { eta, curvature })),
  });
}

/**
 * DPM-Solver multistep: the same on the noise predictions. Lu et al. 2022 (arXiv 2206.00927); algorithm_type dpmsolver
 * of diffusers.
 */
export function dpmSolver(options: DpmOptions = {}): Solver<'vp' | 've', 'estimate'> {
  const { order = 2, type } = options;
  return solver({
    name: `dpm-solver-${order}m`,
    kinds: DIFFUSION,
    problems: needsSignal,
    step: (i, state, means) =>
      noiseStep(i, state, means, options, (to, nodes) => dpmWeights(exchanged(to), nodes.map(exchanged), type)),
  });
}

/**
 * DPM-Solver multistep for the reverse SDE, order 1 or 2: twice the ODE's noise weights, and fresh noise of
 * sigma' sqrt(e^(2h) - 1). sde-dpmsolver of diffusers. The step to sigma = 0 gives the estimate of x0.
 */
export function dpmSolverSde(
  options: Omit<DpmOptions, 'order' | 'type'> & { readonly order?: 1 | 2; readonly type?: 'midpoint' | 'heun' } = {},
): Solver<'vp' | 've', 'estimate'> {
  const { order = 2, type } = options;
  return solver({
    name: `dpm-solver-${order}m-sde`,
    kinds: DIFFUSION,
    stochastic: true,
    problems: needsSignal,
    step: (i, state, means) =>
      noiseStep(i, state, means, options, (to, nodes) => {
        const ode = dpmWeights(exchanged(to), nodes.map(exchanged), type);
        if (to.sigma === 0) return ode;
        const h = halfLogSnr(to) - halfLogSnr(nodes[0]!);
        return { p: ode.p, w: ode.w.map((x) => 2 * x), noise: to.sigma * Math.sqrt(Math.expm1(2 * h)) };
      }),
  });
}

type Weigh = (to: NoiseLevel, nodes: readonly NoiseLevel[]) => MultistepWeights;

function dataStep<V>(
  i: number,
  state: State<V>,
  means: SolverContext<V>,
  options: DpmOptions,
  weigh: Weigh,
): StepResult<V> {
  const level = levelAt(means.table, i);
  const x0 = means.estimate(state.x, level);
  return multistep(i, state, means, options, weigh, x0, x0);
}

function noiseStep<V>(
  i: number,
  state: State<V>,
  means: SolverContext<V>,
  options: DpmOptions,
  weigh: Weigh,
): StepResult<V> {
  const level = levelAt(means.table, i);
  const x0 = means.estimate(state.x, level);
  return multistep(i, state, means, options, weigh, x0, noiseOf(means.space, state.x, x0, level));
}

function multistep<V>(
  i: number,
  { x, memory }: State<V>,
  { space, table, noise }: SolverContext<V>,
  { order = 2, lowerOrderFinal, eulerAtFinal = false }: DpmOptions,
  weigh: Weigh,
  x0: V,
  prediction: V,
): StepResult<V> {
  const steps = rowSteps(table);
  const level = levelAt(table, i);
  const to = levelAt(table, i + 1);
  const wanted = eulerAtFinal && i === steps - 1 ? 1 : order;
  const count = orderAt(wanted, memory.length, steps - i, lowerOrderFinal ?? steps < 15);
  const predictions = [prediction, ...memory];
  const { p, w, noise: fresh } = weigh(to, levelsBack(table, i, count));
  const mean = weighted(space, p, x, w, predictions);
  const next = addNoise(space, mean, fresh, () => noise(level, to));
  return { x: next, x0, level, memory: predictions.slice(0, order - 1), numbers: [] };
}
