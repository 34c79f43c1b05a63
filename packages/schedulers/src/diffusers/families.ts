import type { Denoiser } from '@mezzotint/core';
import type { Clipping } from '../clipping.js';
import { consistencyBoundary } from '../consistency-boundary.js';
import type { DiscreteProcess } from '../schedules/process.js';
import type { NoiseSchedule, ScheduleKind } from '../schedules/schedule.js';
import type { Need, Solver } from '../solver.js';
import { eulerAncestral } from '../solvers/ancestral.js';
import { consistency, tcd } from '../solvers/consistency.js';
import { deis } from '../solvers/deis.js';
import { dpmpp, dpmppSde, dpmSolver, dpmSolverSde } from '../solvers/dpm-multistep.js';
import { dpmppSinglestep, dpmSolverSinglestep } from '../solvers/dpm-singlestep.js';
import { dpm2, dpm2Ancestral } from '../solvers/dpm2.js';
import { ddim, ddpm, ddpmLarge, ddpmLearned, euler } from '../solvers/first-order.js';
import { heun } from '../solvers/heun.js';
import { lms } from '../solvers/lms.js';
import { plmsDiscrete, pndmDiscrete } from '../solvers/pndm.js';
import { unipc } from '../solvers/unipc.js';
import { CURVES } from './forward-process.js';
import { discreteSchedule, distilledSchedule, multistepSchedule, ratioScheduleOf } from './schedules.js';
import type { Defaults, Settings } from './settings.js';

/** What a class makes of its settings. */
export interface Made {
  readonly solver: Solver<ScheduleKind, Need>;
  /** The network's second half of channels interpolates the variance (`variance_type: learned_range`). */
  readonly learnedVariance?: boolean;
  readonly start: 'sigma' | 'total';
  readonly table: (steps: number, strength?: number) => NoiseSchedule;
  /** The table takes the strength of image to image into account. */
  readonly spreadsStrength?: boolean;
  /** What is done to estimates beside the limit. */
  readonly finishEstimate?: <C>(model: Denoiser<C>) => Denoiser<C>;
}

/** What is known when a class is asked for its sampler. */
export interface Given {
  readonly settings: Settings;
  readonly process: DiscreteProcess;
  readonly limit: Clipping | null;
  /** The argument eta of diffusers' pipelines. */
  readonly eta: number;
}

/** A class of diffusers. */
export interface Family {
  /** The settings that it has, and what they are when absent. */
  readonly defaults: Defaults;
  /** beta_schedule, where it has others than all do. */
  readonly curves?: readonly string[];
  /** prediction_type, where it has others than all do. */
  readonly predictions?: readonly string[];
  /** True when the solver applies the limit itself. */
  readonly limits?: boolean;
  make(given: Given): Made;
}

const chain = {
  num_train_timesteps: 1000,
  beta_start: 1e-4,
  beta_end: 0.02,
  beta_schedule: 'linear',
  trained_betas: null,
  prediction_type: 'epsilon',
} as const;
const latent = { ...chain, beta_start: 0.00085, beta_end: 0.012 } as const;
const leading = { timestep_spacing: 'leading', steps_offset: 0 } as const;
const linspace = { timestep_spacing: 'linspace', steps_offset: 0 } as const;
const zeroSnr = { rescale_betas_zero_snr: false } as const;
const spread = { use_karras_sigmas: false, use_exponential_sigmas: false, use_beta_sigmas: false } as const;
const clip = { clip_sample: false, clip_sample_range: 1 } as const;
const threshold = { thresholding: false, dynamic_thresholding_ratio: 0.995, sample_max_value: 1 } as const;
const final = { final_sigmas_type: 'zero' } as const;
const flows = { use_flow_sigmas: false } as const;
const dpm = {
  ...chain,
  ...spread,
  ...threshold,
  ...final,
  ...flows,
  solver_order: 2,
  algorithm_type: 'dpmsolver++',
  solver_type: 'midpoint',
  lambda_min_clipped: null,
  variance_type: null,
} as const;

/** Classes take one another's files, whose words for solver_type and algorithm_type they turn into their own. */
const WORDS = ['midpoint', 'heun', 'logrho', 'bh1', 'bh2'] as const;

function wordOf<T extends string>(settings: Settings, key: string, own: readonly [T, ...T[]], absent: T): T {
  const word = settings.read<string>(key, absent, [...own, ...WORDS]);
  return own.find((item) => item === word) ?? absent;
}

const orders = [1, 2, 3] as const;

/** Where DPM-Solver and UniPC end. */
function finalOf(settings: Settings): 'clean' | 'first' {
  return settings.read('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero' ? 'clean' : 'first';
}

/** The order falls over the last steps of short runs, unless the file says that it does not. */
function lowering(settings: Settings): { readonly lowerOrderFinal?: boolean } {
  return settings.read('lower_order_final', true) ? {} : { lowerOrderFinal: false };
}

/** What DPM-Solver takes in steps of one kind and the other. */
function dpmOptions(settings: Settings): { readonly order: 1 | 2 | 3; readonly type: 'midpoint' | 'heun' } {
  settings.refuse('use_flow_sigmas', 'variance_type');
  return {
    order: settings.read<1 | 2 | 3>('solver_order', 2, orders),
    type: wordOf(settings, 'solver_type', ['midpoint', 'heun'], 'midpoint'),
  };
}

/** The noise forms of DPM-Solver and UniPC are not defined at sigma = 0, and diffusers refuses them or makes nan of them. */
function noiseFormEnds(settings: Settings, key: string): void {
  if (finalOf(settings) === 'clean')
    settings.problems.push(`final_sigmas_type: expected "sigma_min" with this ${key}, got "zero"`);
}

/** The classes that we know. */
export const families: Readonly<Record<string, Family>> = {
  DDIMScheduler: {
    defaults: { ...chain, ...leading, ...zeroSnr, ...threshold, ...clip, clip_sample: true, set_alpha_to_one: true },
    limits: true,
    make: ({ settings, process, limit, eta }) => ({
      solver: ddim({ eta, limit, process }) as Solver<ScheduleKind, 'estimate'>,
      start: 'total',
      table: discreteSchedule(settings, process, settings.read('set_alpha_to_one', true)),
    }),
  },
  DDPMScheduler: {
    defaults: {
      ...chain,
      ...leading,
      ...zeroSnr,
      ...threshold,
      ...clip,
      clip_sample: true,
      variance_type: 'fixed_small',
    },
    curves: [...CURVES, 'sigmoid', 'laplace'],
    make({ settings, process }) {
      const types = ['fixed_small', 'fixed_small_log', 'fixed_large', 'learned_range'] as const;
      const variance = settings.read<string>('variance_type', 'fixed_small', types);
      const learnedVariance = variance === 'learned_range';
      const fixed = variance === 'fixed_large' ? ddpmLarge({ noiseAtEnd: true }) : ddpm();
      return {
        solver: (learnedVariance ? ddpmLearned() : fixed) as Solver<ScheduleKind, Need>,
        learnedVariance,
        start: 'total',
        table: discreteSchedule(settings, process, true),
      };
    },
  },
  PNDMScheduler: {
    defaults: { ...chain, ...leading, skip_prk_steps: false, set_alpha_to_one: false },
    predictions: ['epsilon', 'v_prediction'],
    make({ settings, process }) {
      const make = settings.read('skip_prk_steps', false) ? plmsDiscrete : pndmDiscrete;
      const average = settings.read<string>('prediction_type', 'epsilon') === 'v_prediction' ? 'v' : 'noise';
      return {
        solver: make({ process, average }) as Solver<ScheduleKind, 'estimate'>,
        start: 'total',
        table: discreteSchedule(settings, process, settings.read('set_alpha_to_one', false)),
      };
    },
  },
  EulerDiscreteScheduler: {
    defaults: {
      ...chain,
      ...linspace,
      ...zeroSnr,
      ...spread,
      ...final,
      interpolation_type: 'linear',
      timestep_type: 'discrete',
    },
    make: ({ settings, process }) => ({ solver: euler(), ...ratioScheduleOf(settings, process) }),
  },
  EulerAncestralDiscreteScheduler: {
    defaults: { ...chain, ...linspace, ...zeroSnr },
    predictions: ['epsilon', 'v_prediction'],
    make: ({ settings, process }) => ({ solver: eulerAncestral(), ...ratioScheduleOf(settings, process) }),
  },
  HeunDiscreteScheduler: {
    defaults: { ...latent, ...linspace, ...spread, ...clip },
    curves: [...CURVES, 'exp'],
    make: ({ settings, process }) => ({ solver: heun(), ...ratioScheduleOf(settings, process) }),
  },
  KDPM2DiscreteScheduler: {
    defaults: { ...latent, ...linspace, ...spread },
    predictions: ['epsilon', 'v_prediction'],
    make: ({ settings, process }) => ({
      solver: dpm2() as Solver<ScheduleKind, 'estimate'>,
      ...ratioScheduleOf(settings, process, { karrasTimesRounded: true }),
    }),
  },
  KDPM2AncestralDiscreteScheduler: {
    defaults: { ...latent, ...linspace, ...spread },
    predictions: ['epsilon', 'v_prediction'],
    make: ({ settings, process }) => ({
      solver: dpm2Ancestral() as Solver<ScheduleKind, 'estimate'>,
      ...ratioScheduleOf(settings, process, { karrasTimesRounded: true }),
    }),
  },
  LMSDiscreteScheduler: {
    defaults: { ...chain, ...linspace, ...spread },
    make: ({ settings, process }) => ({
      solver: lms({ assumePast: true }),
      ...ratioScheduleOf(settings, process, { karrasTakesRange: false }),
    }),
  },
  DPMSolverMultistepScheduler: {
    defaults: {
      ...dpm,
      ...linspace,
      ...zeroSnr,
      use_lu_lambdas: false,
      lower_order_final: true,
      euler_at_final: false,
    },
    make({ settings, process }) {
      const { order, type } = dpmOptions(settings);
      const eulerAtFinal = settings.read('euler_at_final', false);
      const options = { order, type, eulerAtFinal, ...lowering(settings) };
      const algorithms = ['dpmsolver++', 'dpmsolver', 'sde-dpmsolver++', 'sde-dpmsolver', 'deis'] as const;
      const algorithm = settings.read<(typeof algorithms)[number]>('algorithm_type', 'dpmsolver++', algorithms);
      if (!algorithm.endsWith('++') && algorithm !== 'deis') noiseFormEnds(settings, 'algorithm_type');
      if (algorithm === 'sde-dpmsolver' && order === 3)
        settings.problems.push('solver_order: expected 1 or 2 with algorithm_type "sde-dpmsolver", got 3');
      const solver: Solver<ScheduleKind, 'estimate'> = {
        'dpmsolver++': () => dpmpp(options),
        deis: () => dpmpp(options),
        dpmsolver: () => dpmSolver(options) as Solver<ScheduleKind, 'estimate'>,
        'sde-dpmsolver++': () => dpmppSde({ ...options, curvature: 'diffusers' }),
        'sde-dpmsolver': () =>
          dpmSolverSde({ ...options, order: order === 3 ? 2 : order }) as Solver<ScheduleKind, 'estimate'>,
      }[algorithm]();
      const rules = { final: finalOf(settings), roundsCosine: false } as const;
      return { solver, start: 'total', table: multistepSchedule(settings, process, rules) };
    },
  },
  DPMSolverSinglestepScheduler: {
    defaults: { ...dpm, lower_order_final: false },
    make({ settings, process }) {
      const options = {
        ...dpmOptions(settings),
        ...(settings.read<boolean>('lower_order_final', false) ? { lowerOrderFinal: true } : {}),
      };
      const algorithm = settings.read<string>('algorithm_type', 'dpmsolver++', ['dpmsolver++', 'dpmsolver', 'deis']);
      if (algorithm === 'dpmsolver') {
        noiseFormEnds(settings, 'algorithm_type');
        settings.refuse('thresholding'); // which does not run there
      }
      const solver = algorithm === 'dpmsolver' ? dpmSolverSinglestep(options) : dpmppSinglestep(options);
      const rules = { final: finalOf(settings), roundsCosine: true } as const;
      return {
        solver: solver as Solver<ScheduleKind, 'estimate'>,
        start: 'total',
        table: multistepSchedule(settings, process, rules),
      };
    },
  },
  DEISMultistepScheduler: {
    defaults: { ...chain, ...linspace, ...spread, ...threshold, ...flows, solver_order: 2, lower_order_final: true },
    make({ settings, process }) {
      settings.refuse('use_flow_sigmas');
      const order = settings.read<1 | 2 | 3>('solver_order', 2, orders);
      const rules = { final: 'repeated', roundsCosine: true } as const;
      const solver = deis({ order, ...lowering(settings) }) as Solver<ScheduleKind, 'estimate'>;
      return { solver, start: 'total', table: multistepSchedule(settings, process, rules) };
    },
  },
  UniPCMultistepScheduler: {
    defaults: {
      ...chain,
      ...linspace,
      ...zeroSnr,
      ...spread,
      ...threshold,
      ...final,
      ...flows,
      solver_order: 2,
      solver_type: 'bh2',
      predict_x0: true,
      lower_order_final: true,
      disable_corrector: [],
      solver_p: null,
      use_dynamic_shifting: false,
      shift_terminal: null,
    },
    make({ settings, process }) {
      settings.refuse('use_flow_sigmas', 'solver_p', 'use_dynamic_shifting', 'shift_terminal');
      const order = settings.read<1 | 2 | 3>('solver_order', 2, orders);
      const type = wordOf(settings, 'solver_type', ['bh2', 'bh1'], 'bh2');
      const predicts = settings.read('predict_x0', true) ? 'x0' : 'noise';
      if (predicts === 'noise') {
        noiseFormEnds(settings, 'predict_x0');
        settings.refuse('thresholding'); // which it passes over
      }
      const corrector = { except: settings.numbers('disable_corrector') ?? [] };
      const lowerOrderFinal = settings.read('lower_order_final', true);
      const solver = unipc({ order, type, predicts, corrector, lowerOrderFinal }) as Solver<ScheduleKind, 'estimate'>;
      const final = finalOf(settings) === 'clean' ? 'clean' : 'repeated';
      return { solver, start: 'total', table: multistepSchedule(settings, process, { final, roundsCosine: true }) };
    },
  },
  LCMScheduler: {
    defaults: {
      ...latent,
      ...zeroSnr,
      ...threshold,
      ...clip,
      beta_schedule: 'scaled_linear',
      original_inference_steps: 50,
      timestep_scaling: 10,
    },
    make({ settings, process }) {
      const timeScale = settings.read('timestep_scaling', 10);
      return {
        solver: consistency(),
        start: 'total',
        table: distilledSchedule(settings, process, 'clean'),
        spreadsStrength: true,
        finishEstimate: (model) => consistencyBoundary(model, { timeScale }),
      };
    },
  },
  TCDScheduler: {
    defaults: { ...latent, ...zeroSnr, beta_schedule: 'scaled_linear', original_inference_steps: 50 },
    make: ({ settings, process, eta }) => ({
      solver: tcd({ process, gamma: eta }) as Solver<ScheduleKind, 'estimate'>,
      start: 'total',
      table: distilledSchedule(settings, process, 'first'),
      spreadsStrength: true,
    }),
  },
};
