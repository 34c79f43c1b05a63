import { InvalidArgumentError } from '@mezzotint/core';
import {
  euler,
  flow,
  flowHeun,
  flowSchedule,
  flowTime,
  fluxMu,
  gridFlowSigmas,
  type Sampler,
  sampler,
  shiftFlow,
  shiftFlowByMu,
  shiftFlowLinearly,
  stretchFlow,
  uniformFlowSigmas,
} from '@mezzotint/schedulers';

/** Which levels a pipeline of diffusers asks its scheduler for, before they are shifted. */
export interface FlowMatchOptions {
  /** `grid`: from 1 to 1/1000 of the training grid (StableDiffusion3Pipeline); `uniform`: 1, 1 - 1/n, ..., 1/n (FluxPipeline). */
  readonly levels: 'grid' | 'uniform';
  /** The network's time at pure noise: 1000 in SD3, 1 in FLUX. */
  readonly timeScale: number;
  /** mu at the most tokens where the file does not say it: 1.16 in SD3's pipeline, 1.15 in FLUX's. */
  readonly maxShift: number;
}

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
export function flowMatchSampler(json: unknown, { levels, timeScale, maxShift }: FlowMatchOptions): Sampler {
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
  const read = <K extends keyof typeof DEFAULTS>(key: K): unknown => given[key] ?? DEFAULTS[key];
  const number = (key: keyof typeof DEFAULTS) => Number(read(key));
  const type = read('time_shift_type');
  const problems = [
    ...UNBUILT.filter((key) => read(key) !== false).map((key) => `${key}: expected false, the only one that is built`),
    ...(['exponential', 'linear'].includes(type as string)
      ? []
      : [`time_shift_type: expected exponential or linear, got ${JSON.stringify(type)}`]),
    ...(['shift', 'num_train_timesteps', 'base_image_seq_len', 'max_image_seq_len'] as const)
      .filter((key) => !(number(key) > 0 && Number.isFinite(number(key))))
      .map((key) => `${key}: expected a positive number, got ${JSON.stringify(read(key))}`),
  ];
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  const total = number('num_train_timesteps');
  const dynamic = read('use_dynamic_shifting') === true;
  const terminal = read('shift_terminal') as number | null;
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
          : gridFlowSigmas(steps, { total, endShift: dynamic ? 1 : number('shift') });
      const shifted = dynamic ? shiftedBy(type, even, mu(tokens)) : shiftFlow(even, number('shift'));
      return flowSchedule(terminal ? stretchFlow(shifted, terminal) : shifted, own);
    },
    timeAt: (fraction) => timeScale * fraction,
  });

  function mu(tokens: number | undefined): number {
    if (tokens === undefined)
      throw new InvalidArgumentError(who, 'these levels depend on the tokens of the picture, got none');
    return fluxMu(tokens, {
      baseTokens: number('base_image_seq_len'),
      maxTokens: number('max_image_seq_len'),
      baseMu: number('base_shift'),
      maxMu: Number(given.max_shift ?? maxShift),
    });
  }
}

function shiftedBy(type: unknown, sigmas: Float64Array, mu: number): Float64Array {
  return type === 'linear' ? shiftFlowLinearly(sigmas, mu) : shiftFlowByMu(sigmas, mu);
}
