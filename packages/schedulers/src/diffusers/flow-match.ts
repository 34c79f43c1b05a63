import { InvalidArgumentError } from '@mezzotint/core';
import { flow } from '../parameterisation.js';
import { type Sampler, sampler } from '../sampler.js';
import {
  fluxMu,
  gridFlowSigmas,
  shiftFlow,
  shiftFlowByMu,
  shiftFlowLinearly,
  stretchFlow,
  uniformFlowSigmas,
} from '../schedules/flow.js';
import { flowSchedule } from '../schedules/schedule.js';
import { flowTime } from '../schedules/time-of.js';
import { euler } from '../solvers/first-order.js';
import { flowHeun } from '../solvers/heun.js';
import { Settings } from './settings.js';

/** Which levels a pipeline of diffusers asks its scheduler for, before they are shifted. */
export interface FlowMatchOptions {
  /** `grid`: from 1 to 1/1000 of the training grid (StableDiffusion3Pipeline); `uniform`: 1, 1 - 1/n, ..., 1/n (FluxPipeline). `grid`. */
  readonly levels?: 'grid' | 'uniform';
  /** The network's time at pure noise: 1000 in SD3, 1 in FLUX. 1000. */
  readonly timeScale?: number;
}

/** The classes that are read here. */
export const flowMatchClasses = ['FlowMatchEulerDiscreteScheduler', 'FlowMatchHeunDiscreteScheduler'] as const;

/** Settings of FlowMatchEulerDiscreteScheduler and FlowMatchHeunDiscreteScheduler with their defaults. */
const DEFAULTS = {
  num_train_timesteps: 1000,
  shift: 1,
  use_dynamic_shifting: false,
  base_shift: 0.5,
  max_shift: 1.15,
  base_image_seq_len: 256,
  max_image_seq_len: 4096,
  invert_sigmas: false,
  shift_terminal: null,
  use_karras_sigmas: false,
  use_exponential_sigmas: false,
  use_beta_sigmas: false,
  time_shift_type: 'exponential',
  stochastic_sampling: false,
} as const;

/** The same by class; Heun's has the first two. */
export const flowMatchDefaults: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  FlowMatchEulerDiscreteScheduler: DEFAULTS,
  FlowMatchHeunDiscreteScheduler: { num_train_timesteps: DEFAULTS.num_train_timesteps, shift: DEFAULTS.shift },
};

const UNBUILT = [
  'invert_sigmas',
  'use_karras_sigmas',
  'use_exponential_sigmas',
  'use_beta_sigmas',
  'stochastic_sampling',
] as const;

/** Least and most sigma / alpha, for spacings that are asked for by name: those of levels 0.001 and, nearly, 1. */
const RATIOS = { min: 1e-3, max: 80 };

/**
 * The sampler of a scheduler_config.json of FlowMatchEulerDiscreteScheduler or FlowMatchHeunDiscreteScheduler. With
 * `use_dynamic_shifting` the levels depend on the tokens of the picture; else they are shifted by `shift`, on a grid twice:
 * the grid's own end is shifted already, as in diffusers and in SD3's reference.
 *
 * @throws InvalidArgumentError naming another class, and every setting that we do not build
 */
export function flowMatchSampler(json: unknown, { levels = 'grid', timeScale = 1000 }: FlowMatchOptions = {}): Sampler {
  const who = 'flowMatchSampler';
  const given = (typeof json === 'object' && json !== null ? json : {}) as Readonly<Record<string, unknown>>;
  const name = given._class_name;
  const solver =
    name === 'FlowMatchEulerDiscreteScheduler'
      ? euler()
      : name === 'FlowMatchHeunDiscreteScheduler'
        ? flowHeun()
        : undefined;
  if (solver === undefined) {
    throw new InvalidArgumentError(
      who,
      `_class_name: expected FlowMatchEulerDiscreteScheduler or FlowMatchHeunDiscreteScheduler, got ${JSON.stringify(name)}`,
    );
  }
  const settings = new Settings(given, DEFAULTS);
  settings.refuse(...UNBUILT);
  const positive = (key: 'shift' | 'num_train_timesteps' | 'base_image_seq_len' | 'max_image_seq_len'): number => {
    const value = settings.read<number>(key, DEFAULTS[key]);
    if (value > 0 && Number.isFinite(value)) return value;
    settings.problems.push(`${key}: expected a positive number, got ${value}`);
    return DEFAULTS[key];
  };
  const [shift, total] = [positive('shift'), positive('num_train_timesteps')];
  const tokenRange = { baseTokens: positive('base_image_seq_len'), maxTokens: positive('max_image_seq_len') };
  const baseMu = settings.read<number>('base_shift', DEFAULTS.base_shift);
  const maxMu = settings.read<number>('max_shift', DEFAULTS.max_shift);
  const type = settings.read<string>('time_shift_type', DEFAULTS.time_shift_type, ['exponential', 'linear']);
  const dynamic = settings.read<boolean>('use_dynamic_shifting', DEFAULTS.use_dynamic_shifting);
  const terminal = settings.number('shift_terminal');
  settings.check(who);
  const own = flowTime(timeScale);
  return sampler({
    parameterisation: flow,
    timeOf: own,
    solver,
    ratios: RATIOS,
    levels: ({ steps, tokens }) => {
      const even =
        levels === 'uniform'
          ? uniformFlowSigmas(steps)
          : gridFlowSigmas(steps, { total, endShift: dynamic ? 1 : shift });
      const shifted = dynamic ? shiftedBy(type, even, mu(tokens)) : shiftFlow(even, shift);
      return flowSchedule(terminal ? stretchFlow(shifted, terminal) : shifted, own);
    },
    timeAt: (fraction) => timeScale * fraction,
  });

  function mu(tokens: number | undefined): number {
    if (tokens === undefined)
      throw new InvalidArgumentError(who, 'these levels depend on the tokens of the picture, got none');
    return fluxMu(tokens, { ...tokenRange, baseMu, maxMu });
  }
}

function shiftedBy(type: unknown, sigmas: Float64Array, mu: number): Float64Array {
  return type === 'linear' ? shiftFlowLinearly(sigmas, mu) : shiftFlowByMu(sigmas, mu);
}
