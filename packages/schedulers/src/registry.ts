import type { ScheduleKind } from './schedules/schedule.js';
import type { Need, Solver } from './solver.js';
import { ddpmInterpolated } from './solvers/algorithm-2.js';
import { eulerAncestral } from './solvers/ancestral.js';
import { consistency } from './solvers/consistency.js';
import { deis } from './solvers/deis.js';
import { dpmAdaptive } from './solvers/dpm-adaptive.js';
import { dpmFast } from './solvers/dpm-fast.js';
import { dpmpp, dpmppSde, dpmSolver, dpmSolverSde } from './solvers/dpm-multistep.js';
import { dpmppSinglestep, dpmSolverSinglestep } from './solvers/dpm-singlestep.js';
import { dpm2, dpm2Ancestral } from './solvers/dpm2.js';
import { dpmpp2sAncestral, dpmppSdeSinglestep } from './solvers/dpmpp-sde.js';
import { edmStochastic } from './solvers/edm-stochastic.js';
import { ddim, ddpm, ddpmLarge, ddpmLearned, euler } from './solvers/first-order.js';
import { flowHeun, heun } from './solvers/heun.js';
import { ddimInverse, edict, edictInverse } from './solvers/inversion.js';
import { lms } from './solvers/lms.js';
import { ipndm, plms } from './solvers/pndm.js';
import { pcVe, pcVp } from './solvers/predictor-corrector.js';
import { saSolver } from './solvers/sa-solver.js';
import { unipc } from './solvers/unipc.js';

/** What an app needs to offer a solver by name. */
export interface SolverEntry<S extends Solver = Solver> {
  /** One line: what it is. */
  readonly about: string;
  readonly paper: string;
  /**
   * Order of convergence that a test observes with the default options on data with an exact solution; for stochastic
   * solvers that of their deterministic part.
   */
  readonly order: number;
  /** Evaluations of the network in a step (the last may have fewer). */
  readonly evaluations: number;
  readonly stochastic: boolean;
  /** The kinds of table that it works on. */
  readonly kinds: readonly ScheduleKind[];
  /** Whether it takes a Denoiser or one with learned variance. */
  readonly needs: Need;
  /** True where it evaluates between the table's rows, so that the denoiser needs a clock. */
  readonly offTable: boolean;
  /** Makes the solver with its default options. */
  create(): S;
}

function entry<S extends Solver>(
  create: () => S,
  about: string,
  paper: string,
  order: number,
  evaluations: number,
  offTable = false,
): SolverEntry<S> {
  const { stochastic, kinds, needs } = create();
  return { about, paper, order, evaluations, stochastic, kinds, needs, offTable, create };
}

const DDPM = 'Ho et al. 2020, arXiv 2006.11239';
const DDIM = 'Song et al. 2021, arXiv 2010.02502';
const SCORE_SDE = 'Song et al. 2021, arXiv 2011.13456';
const EDM = 'Karras et al. 2022, arXiv 2206.00364';
const PNDM = 'Liu et al. 2022, arXiv 2202.09778';
const DPM = 'Lu et al. 2022, arXiv 2206.00927';
const DPMPP = 'Lu et al. 2022, arXiv 2211.01095';
const DEIS = 'Zhang & Chen 2023, arXiv 2204.13902';
const UNIPC = 'Zhao et al. 2023, arXiv 2302.04867';
const K = 'Crowson, k-diffusion';

/**
 * Every solver that needs no arguments, by name. Those that need a forward process, a picture or a plan are made by hand: `pndm`, `tcd`,
 * `repaint`, `restart`.
 */
export const solvers = {
  ddpm: entry(ddpm, 'ancestral sampling, the smaller fixed variance', DDPM, 1, 1),
  'ddpm-large': entry(ddpmLarge, 'ancestral sampling, the larger fixed variance', DDPM, 1, 1),
  'ddpm-learned': entry(
    ddpmLearned,
    'ancestral sampling, variance learned by the network',
    'Nichol & Dhariwal 2021, arXiv 2102.09672',
    1,
    1,
  ),
  'ddpm-interpolated': entry(
    () => ddpmInterpolated(),
    'ancestral sampling, a variance between the two (v = 0.3)',
    'Ho & Salimans 2022, arXiv 2207.12598',
    1,
    1,
  ),
  ddim: entry(() => ddim(), 'deterministic DDIM (eta 0)', DDIM, 1, 1),
  'ddim-inverse': entry(() => ddimInverse(), 'DDIM backwards, from picture to noise', DDIM, 1, 1),
  euler: entry(euler, 'Euler on the probability-flow ODE, and on rectified flow', EDM, 1, 1),
  'euler-ancestral': entry(() => eulerAncestral(), 'Euler with fresh noise at each step', K, 1, 1),
  heun: entry(heun, 'Heun on the probability-flow ODE', EDM, 2, 2),
  'flow-heun': entry(flowHeun, 'Heun on rectified flow', EDM, 2, 2),
  'edm-stochastic': entry(() => edmStochastic(), 'Heun with churned noise', EDM, 2, 2, true),
  dpm2: entry(dpm2, 'midpoint method in log sigma', `${EDM}; ${K}`, 2, 2, true),
  'dpm2-ancestral': entry(() => dpm2Ancestral(), 'DPM2 with fresh noise at each step', K, 2, 2, true),
  lms: entry(() => lms(), 'linear multistep, variable steps', K, 4, 1),
  plms: entry(() => plms(), 'pseudo linear multistep', PNDM, 2, 1),
  ipndm: entry(ipndm, 'pseudo linear multistep with a low-order start', DEIS, 2, 1),
  'dpm-solver-1m': entry(() => dpmSolver({ order: 1 }), 'DPM-Solver, order 1 (DDIM)', DPM, 1, 1),
  'dpm-solver-2m': entry(() => dpmSolver(), 'DPM-Solver, order 2, multistep', DPM, 2, 1),
  'dpm-solver-3m': entry(() => dpmSolver({ order: 3 }), 'DPM-Solver, order 3, multistep', DPM, 2, 1),
  'dpm-solver-2s': entry(() => dpmSolverSinglestep(), 'DPM-Solver, order 2, blocks of two rows', DPM, 2, 1),
  'dpm-solver-3s': entry(
    () => dpmSolverSinglestep({ order: 3 }),
    'DPM-Solver, order 3, blocks of three rows',
    DPM,
    3,
    1,
  ),
  'dpm-solver-2m-sde': entry(() => dpmSolverSde(), 'DPM-Solver on the reverse SDE, order 2', DPM, 2, 1),
  'dpm-fast': entry(() => dpmFast(), 'DPM-Solver-fast: orders 3, .., 2, 1 in log sigma', DPM, 2, 3, true),
  'dpm-adaptive': entry(() => dpmAdaptive(), 'DPM-Solver with adaptive steps', DPM, 3, 3, true),
  'dpmpp-1m': entry(() => dpmpp({ order: 1 }), 'DPM-Solver++, order 1 (DDIM)', DPMPP, 1, 1),
  'dpmpp-2m': entry(() => dpmpp(), 'DPM-Solver++, order 2, multistep', DPMPP, 2, 1),
  'dpmpp-3m': entry(() => dpmpp({ order: 3 }), 'DPM-Solver++, order 3, multistep', DPMPP, 2, 1),
  'dpmpp-2s': entry(() => dpmppSinglestep(), 'DPM-Solver++, order 2, blocks of two rows', DPMPP, 2, 1),
  'dpmpp-3s': entry(() => dpmppSinglestep({ order: 3 }), 'DPM-Solver++, order 3, blocks of three rows', DPMPP, 3, 1),
  'dpmpp-2m-sde': entry(() => dpmppSde(), 'DPM-Solver++ on the reverse SDE, order 2', DPMPP, 2, 1),
  'dpmpp-3m-sde': entry(
    () => dpmppSde({ order: 3 }),
    'DPM-Solver++ on the reverse SDE, order 3',
    `${DPMPP}; ${K}`,
    2,
    1,
  ),
  'dpmpp-2s-ancestral': entry(
    () => dpmpp2sAncestral(),
    'DPM-Solver++(2S) with fresh noise',
    `${DPMPP}; ${K}`,
    2,
    2,
    true,
  ),
  'dpmpp-sde': entry(() => dpmppSdeSinglestep(), 'DPM-Solver++ on the SDE, singlestep', `${DPMPP}; ${K}`, 2, 2, true),
  'deis-2': entry(() => deis(), 'exponential Adams-Bashforth, order 2', DEIS, 2, 1),
  'deis-3': entry(() => deis({ order: 3 }), 'exponential Adams-Bashforth, order 3', DEIS, 3, 1),
  'unipc-1': entry(() => unipc({ order: 1 }), 'UniPC, predictor order 1 and corrector', UNIPC, 2, 1),
  'unipc-2': entry(() => unipc(), 'UniPC, predictor order 2 and corrector', UNIPC, 2, 1),
  'unipc-3': entry(() => unipc({ order: 3 }), 'UniPC, predictor order 3 and corrector', UNIPC, 2, 1),
  'sa-solver': entry(
    () => saSolver(),
    'stochastic Adams, predictor and corrector',
    'Xue et al. 2023, arXiv 2309.05019',
    2,
    1,
  ),
  consistency: entry(
    () => consistency(),
    'multistep sampling of consistency models; LCM',
    'Song et al. 2023, arXiv 2303.01469; Luo et al. 2023, arXiv 2310.04378',
    1,
    1,
  ),
  'pc-ve': entry(() => pcVe(), 'predictor-corrector, variance exploding', SCORE_SDE, 1, 2),
  'pc-vp': entry(() => pcVp(), 'predictor-corrector, variance preserving', SCORE_SDE, 1, 2),
  edict: entry(() => edict(), 'exactly invertible coupled DDIM', 'Wallace et al. 2022, arXiv 2211.12446', 1, 2),
  'edict-inverse': entry(() => edictInverse(), 'EDICT backwards', 'Wallace et al. 2022, arXiv 2211.12446', 1, 2),
} as const;

/** The name of a solver of the registry. */
export type SolverName = keyof typeof solvers;
