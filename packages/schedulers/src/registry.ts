import type { Need, Solver } from './solver.js';
import { dpmpp2m } from './solvers/dpm-multistep.js';
import { ddim, ddpm, ddpmLarge, ddpmLearned, euler } from './solvers/first-order.js';
import { heun } from './solvers/heun.js';
import type { Kind } from './tables/table.js';

/** What an app needs to offer a solver by name. */
export interface SolverEntry<S extends Solver = Solver> {
  /** One line: what it is. */
  readonly about: string;
  readonly paper: string;
  /** Order of convergence of the deterministic part. */
  readonly order: number;
  /** Evaluations of the network in a step (the last may have fewer). */
  readonly evaluations: number;
  readonly stochastic: boolean;
  /** Makes the solver with its default options. */
  create(): S;
}

function entry<K extends Kind, N extends Need>(
  create: () => Solver<K, N>,
  facts: Omit<SolverEntry, 'create' | 'stochastic'>,
): SolverEntry<Solver<K, N>> {
  return { ...facts, stochastic: create().stochastic, create };
}

/** Every solver by name. */
export const solvers = {
  ddpm: entry(ddpm, {
    about: 'ancestral sampling, the smaller fixed variance',
    paper: 'Ho et al. 2020, arXiv 2006.11239',
    order: 1,
    evaluations: 1,
  }),
  'ddpm-large': entry(ddpmLarge, {
    about: 'ancestral sampling, the larger fixed variance',
    paper: 'Ho et al. 2020, arXiv 2006.11239',
    order: 1,
    evaluations: 1,
  }),
  'ddpm-learned': entry(ddpmLearned, {
    about: 'ancestral sampling, variance learned by the network',
    paper: 'Nichol & Dhariwal 2021, arXiv 2102.09672',
    order: 1,
    evaluations: 1,
  }),
  ddim: entry(() => ddim(), {
    about: 'deterministic DDIM (eta 0)',
    paper: 'Song et al. 2021, arXiv 2010.02502',
    order: 1,
    evaluations: 1,
  }),
  euler: entry(euler, {
    about: 'Euler on the probability-flow ODE',
    paper: 'Karras et al. 2022, arXiv 2206.00364',
    order: 1,
    evaluations: 1,
  }),
  heun: entry(heun, {
    about: 'Heun on the probability-flow ODE (EDM, deterministic)',
    paper: 'Karras et al. 2022, arXiv 2206.00364',
    order: 2,
    evaluations: 2,
  }),
  'dpmpp-2m': entry(() => dpmpp2m(), {
    about: 'DPM-Solver++, second order, multistep',
    paper: 'Lu et al. 2022, arXiv 2211.01095',
    order: 2,
    evaluations: 1,
  }),
} as const;

/** The name of a solver of the registry. */
export type SolverName = keyof typeof solvers;
