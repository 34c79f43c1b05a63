import { InvalidArgumentError } from '@mezzotint/core';
import type { ScheduleKind } from './schedules/schedule.js';
import type { Need, Solver } from './solver.js';
import { checkSolverOptions, type SolverOption, type SolverOptions, scheduleOptions } from './solver-options.js';
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
  /**
   * True where it steps in sigma / alpha itself or in the eps form: where nearly nothing of the image is left, one of its steps
   * would be thousands long and its error with it. Give it Karras levels up to sigma / alpha = 80 (Karras et al. 2022).
   */
  readonly stepsInSigma: boolean;
  /** True where it goes backwards, from a picture to noise. */
  readonly inverse: boolean;
  /** What it can be told, beside `scheduleOptions`. */
  readonly options: Readonly<Record<string, SolverOption>>;
  /** Makes the solver, with its default options where none are given; they are checked by `createSolver`. */
  create(options?: SolverOptions): S;
}

/** What an entry says beside its words and numbers. */
interface EntryTraits {
  readonly offTable?: boolean;
  readonly stepsInSigma?: boolean;
  readonly inverse?: boolean;
  readonly options?: Readonly<Record<string, SolverOption>>;
}

function entry<S extends Solver>(
  // biome-ignore lint/suspicious/noExplicitAny: each solver has options of its own, which `createSolver` checks by `options`
  create: (options?: any) => S,
  about: string,
  paper: string,
  order: number,
  evaluations: number,
  { offTable = false, stepsInSigma = false, inverse = false, options = {} }: EntryTraits = {},
): SolverEntry<S> {
  const { stochastic, kinds, needs } = create();
  return {
    about,
    paper,
    order,
    evaluations,
    stochastic,
    kinds,
    needs,
    offTable,
    stepsInSigma,
    inverse,
    options,
    create,
  };
}

const number = (about: string, absent: number, min: number, max?: number): SolverOption => ({
  type: 'number',
  about,
  absent,
  min,
  ...(max !== undefined && { max }),
});
const whole = (about: string, absent: number, min: number, max: number): SolverOption => ({
  type: 'number',
  about,
  absent,
  min,
  max,
  whole: true,
});

const eta = (absent: number) => ({ eta: number('fraction of fresh noise: 0 is the ODE', absent, 0, 1) });
const secondOrder = { type: choice('weight of the second-order term', 'midpoint', ['midpoint', 'heun']) };
const lowerOrder = (absent: boolean) => ({
  lowerOrderFinal: {
    type: 'boolean',
    about: 'let the order fall to 1 over the last steps; without it runs of fewer than 15 steps do',
    absent,
  } as const,
});
const dpmOptions = {
  ...secondOrder,
  ...lowerOrder(false),
  eulerAtFinal: { type: 'boolean', about: 'make the last step of order 1', absent: false } as const,
};
const corrector = {
  snr: number('signal-to-noise ratio that sets the step of the corrector', 0.16, 0),
  correctorSteps: whole('corrector steps before each predictor step', 1, 0, 100),
};
const unipcOptions = {
  type: choice('B(h) of the paper', 'bh2', ['bh1', 'bh2']),
  corrector: { type: 'boolean', about: 'correct each step with the next evaluation', absent: true } as const,
  lowerOrderFinal: { type: 'boolean', about: 'let the order fall over the last steps', absent: true } as const,
};
const mixing = { mixing: number('fraction of each of the two pictures that stays its own', 0.93, 0, 1) };

function choice(about: string, absent: string, values: readonly string[]): SolverOption {
  return { type: 'choice', about, absent, values };
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
 * Every solver that needs no arguments, by name. Those that need a chain, a picture or a plan are made by hand: `pndm`, `tcd`,
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
    ddpmInterpolated,
    'ancestral sampling, a variance between the two (v = 0.3)',
    'Ho & Salimans 2022, arXiv 2207.12598',
    1,
    1,
    { options: { v: number('interpolation of the log variance, 0 the smaller', 0.3, 0, 1) } },
  ),
  ddim: entry((options) => ddim(options), 'deterministic DDIM (eta 0)', DDIM, 1, 1, { options: eta(0) }),
  'ddim-inverse': entry(() => ddimInverse(), 'DDIM backwards, from picture to noise', DDIM, 1, 1, { inverse: true }),
  euler: entry(euler, 'Euler on the probability-flow ODE, and on rectified flow', EDM, 1, 1),
  'euler-ancestral': entry(eulerAncestral, 'Euler with fresh noise at each step', K, 1, 1, { options: eta(1) }),
  heun: entry(heun, 'Heun on the probability-flow ODE', EDM, 2, 2, { stepsInSigma: true }),
  'flow-heun': entry(flowHeun, 'Heun on rectified flow', EDM, 2, 2),
  'edm-stochastic': entry(edmStochastic, 'Heun with churned noise', EDM, 2, 2, {
    offTable: true,
    stepsInSigma: true,
    options: {
      churn: number('S_churn: noise added over the whole run; 0 is Heun', 40, 0),
      min: number('S_tmin: churn from this sigma / alpha on', 0.05, 0),
      max: number('S_tmax: churn up to this sigma / alpha', 50, 0),
      noise: number('S_noise: standard deviation of the added noise', 1.003, 0),
    },
  }),
  dpm2: entry(dpm2, 'midpoint method in log sigma', `${EDM}; ${K}`, 2, 2, { offTable: true, stepsInSigma: true }),
  'dpm2-ancestral': entry(dpm2Ancestral, 'DPM2 with fresh noise at each step', K, 2, 2, {
    offTable: true,
    stepsInSigma: true,
    options: eta(1),
  }),
  lms: entry(lms, 'linear multistep, variable steps', K, 4, 1, {
    options: { order: whole('slopes in a step', 4, 1, 4) },
  }),
  plms: entry(() => plms(), 'pseudo linear multistep', PNDM, 2, 1, { stepsInSigma: true }),
  ipndm: entry(ipndm, 'pseudo linear multistep with a low-order start', DEIS, 2, 1),
  'dpm-solver-1m': entry(() => dpmSolver({ order: 1 }), 'DPM-Solver, order 1 (DDIM)', DPM, 1, 1),
  'dpm-solver-2m': entry(dpmSolver, 'DPM-Solver, order 2, multistep', DPM, 2, 1, { options: dpmOptions }),
  'dpm-solver-3m': entry(
    (options) => dpmSolver({ ...options, order: 3 }),
    'DPM-Solver, order 3, multistep',
    DPM,
    2,
    1,
    {
      options: dpmOptions,
    },
  ),
  'dpm-solver-2s': entry(dpmSolverSinglestep, 'DPM-Solver, order 2, blocks of two rows', DPM, 2, 1, {
    stepsInSigma: true,
    options: secondOrder,
  }),
  'dpm-solver-3s': entry(
    () => dpmSolverSinglestep({ order: 3 }),
    'DPM-Solver, order 3, blocks of three rows',
    DPM,
    3,
    1,
    { stepsInSigma: true },
  ),
  'dpm-solver-2m-sde': entry(() => dpmSolverSde(), 'DPM-Solver on the reverse SDE, order 2', DPM, 2, 1, {
    stepsInSigma: true,
  }),
  'dpm-fast': entry(() => dpmFast(), 'DPM-Solver-fast: orders 3, .., 2, 1 in log sigma', DPM, 2, 3, {
    offTable: true,
    stepsInSigma: true,
  }),
  'dpm-adaptive': entry(dpmAdaptive, 'DPM-Solver with adaptive steps', DPM, 3, 3, {
    offTable: true,
    stepsInSigma: true,
    options: {
      order: whole('2 compares orders 1 and 2, 3 compares 2 and 3', 3, 2, 3),
      relativeTolerance: number('relative error of a step', 0.05, 1e-9),
      absoluteTolerance: number('absolute error of a step', 0.0078, 1e-9),
      initialStep: number('first step in -log(sigma / alpha)', 0.05, 1e-6),
    },
  }),
  'dpmpp-1m': entry(() => dpmpp({ order: 1 }), 'DPM-Solver++, order 1 (DDIM)', DPMPP, 1, 1),
  'dpmpp-2m': entry((options) => dpmpp(options), 'DPM-Solver++, order 2, multistep', DPMPP, 2, 1, {
    options: dpmOptions,
  }),
  'dpmpp-3m': entry((options) => dpmpp({ ...options, order: 3 }), 'DPM-Solver++, order 3, multistep', DPMPP, 2, 1, {
    options: dpmOptions,
  }),
  'dpmpp-2s': entry(dpmppSinglestep, 'DPM-Solver++, order 2, blocks of two rows', DPMPP, 2, 1, {
    options: secondOrder,
  }),
  'dpmpp-3s': entry(() => dpmppSinglestep({ order: 3 }), 'DPM-Solver++, order 3, blocks of three rows', DPMPP, 3, 1),
  'dpmpp-2m-sde': entry((options) => dpmppSde(options), 'DPM-Solver++ on the reverse SDE, order 2', DPMPP, 2, 1, {
    options: { ...eta(1), ...secondOrder },
  }),
  'dpmpp-3m-sde': entry(
    (options) => dpmppSde({ ...options, order: 3 }),
    'DPM-Solver++ on the reverse SDE, order 3',
    `${DPMPP}; ${K}`,
    2,
    1,
    { options: eta(1) },
  ),
  'dpmpp-2s-ancestral': entry(dpmpp2sAncestral, 'DPM-Solver++(2S) with fresh noise', `${DPMPP}; ${K}`, 2, 2, {
    offTable: true,
    options: eta(1),
  }),
  'dpmpp-sde': entry(dpmppSdeSinglestep, 'DPM-Solver++ on the SDE, singlestep', `${DPMPP}; ${K}`, 2, 2, {
    offTable: true,
    options: eta(1),
  }),
  'deis-2': entry(() => deis(), 'exponential Adams-Bashforth, order 2', DEIS, 2, 1),
  'deis-3': entry(() => deis({ order: 3 }), 'exponential Adams-Bashforth, order 3', DEIS, 3, 1),
  'unipc-1': entry(() => unipc({ order: 1 }), 'UniPC, predictor order 1 and corrector', UNIPC, 2, 1),
  'unipc-2': entry((options) => unipc(options), 'UniPC, predictor order 2 and corrector', UNIPC, 2, 1, {
    options: unipcOptions,
  }),
  'unipc-3': entry(
    (options) => unipc({ ...options, order: 3 }),
    'UniPC, predictor order 3 and corrector',
    UNIPC,
    2,
    1,
    {
      options: unipcOptions,
    },
  ),
  'sa-solver': entry(saSolver, 'stochastic Adams, predictor and corrector', 'Xue et al. 2023, arXiv 2309.05019', 2, 1, {
    options: {
      predictorOrder: whole('order of the predictor', 2, 1, 3),
      correctorOrder: whole('order of the corrector, 0 leaves it out', 2, 0, 3),
    },
  }),
  consistency: entry(
    consistency,
    'multistep sampling of consistency models; LCM',
    'Song et al. 2023, arXiv 2303.01469; Luo et al. 2023, arXiv 2310.04378',
    1,
    1,
    { options: { floor: number('the sigma / alpha that counts as clean', 0, 0) } },
  ),
  'pc-ve': entry(pcVe, 'predictor-corrector, variance exploding', SCORE_SDE, 1, 2, {
    stepsInSigma: true,
    options: corrector,
  }),
  'pc-vp': entry(pcVp, 'predictor-corrector, variance preserving', SCORE_SDE, 1, 2, { options: corrector }),
  edict: entry(edict, 'exactly invertible coupled DDIM', 'Wallace et al. 2022, arXiv 2211.12446', 1, 2, {
    options: mixing,
  }),
  'edict-inverse': entry(edictInverse, 'EDICT backwards', 'Wallace et al. 2022, arXiv 2211.12446', 1, 2, {
    inverse: true,
    options: mixing,
  }),
} as const;

/** The name of a solver of the registry. */
export type SolverName = keyof typeof solvers;

/** Whether a word is the name of a solver. */
export function isSolverName(name: string): name is SolverName {
  return Object.hasOwn(solvers, name);
}

/**
 * A solver of the registry with options; `scheduleOptions` may be among them and are the schedule's.
 *
 * @throws InvalidArgumentError when the name is unknown, with all names; or with every option that does not fit
 */
export function createSolver(name: SolverName, options: SolverOptions = {}): Solver {
  if (!isSolverName(name)) {
    throw new InvalidArgumentError(
      'solver',
      `unknown solver '${String(name)}', known: ${Object.keys(solvers).join(', ')}`,
    );
  }
  const entry: SolverEntry = solvers[name];
  checkSolverOptions(name, entry.options, options);
  const own = Object.entries(options).filter(([key]) => !Object.hasOwn(scheduleOptions, key));
  return entry.create(Object.fromEntries(own));
}
