import { InvalidArgumentError } from '@mezzotint/core';
import { consistencyTimesteps } from '../schedules/consistency.js';
import { type DiscreteProcess, noiseRatioAt } from '../schedules/process.js';
import { customSchedule, type NoiseSchedule, ratioSchedule, timestepSchedule } from '../schedules/schedule.js';
import { betaSigmas, exponentialSigmas, karrasSigmas, luSigmas } from '../schedules/sigmas.js';
import { discreteTime, edmTime, type TimeOf } from '../schedules/time-of.js';
import { leadingTimesteps, linspaceTimesteps, roundHalfEven, trailingTimesteps } from '../schedules/timesteps.js';
import { endingFinite, ratios32 } from './forward-process.js';
import type { Settings } from './settings.js';

type Spacing = 'leading' | 'trailing' | 'linspace';
type MakeTable = (steps: number, strength?: number) => NoiseSchedule;

const SPACINGS: readonly Spacing[] = ['leading', 'trailing', 'linspace'];

/** Rows of the forward process; the last is clean, or the forward process's own first. DDIM, DDPM and PNDM. */
export function discreteSchedule(settings: Settings, process: DiscreteProcess, clean: boolean): MakeTable {
  const times = spaced(settings, process, { whole: true });
  return (steps) => timestepSchedule(process, times(steps), { final: clean ? 'clean' : 'first' });
}

/** Of the times that the distillation used, or of those below a strength, n evenly. LCM and TCD. */
export function distilledSchedule(settings: Settings, process: DiscreteProcess, final: 'clean' | 'first'): MakeTable {
  const total = process.alpha.length;
  const original = settings.read('original_inference_steps', 50);
  if (!(Number.isInteger(original) && original >= 1 && original <= total))
    settings.problems.push(`original_inference_steps: expected a whole number from 1 to ${total}, got ${original}`);
  return (steps, strength) =>
    timestepSchedule(process, consistencyTimesteps(steps, { total, original, strength }), { final });
}

/** Variance-exploding rows at times that need not be whole, and how their start is scaled. Euler and its kin. */
export function ratioScheduleOf(
  settings: Settings,
  process: DiscreteProcess,
  {
    karrasTakesRange = true,
    karrasTimesRounded = false,
  }: { readonly karrasTakesRange?: boolean; readonly karrasTimesRounded?: boolean } = {},
): { readonly table: MakeTable; readonly start: 'sigma' | 'total' } {
  const times = spaced(settings, process, { whole: false });
  const chain = endingFinite(process);
  const spread = spreadOf(settings, karrasTakesRange);
  const logLinear = settings.read('interpolation_type', 'linear', ['linear', 'log_linear']) === 'log_linear';
  const toFirst = settings.read('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'sigma_min';
  const timed = settings.read('timestep_type', 'discrete', ['discrete', 'continuous']);
  // With other predictions diffusers passes timestep_type over.
  const v = settings.read<string>('prediction_type', 'epsilon') === 'v_prediction';
  const continuous = timed === 'continuous' && v ? edmTime : undefined;
  const [lowest, highest] = [noiseRatioAt(chain, 0), noiseRatioAt(chain, chain.alpha.length - 1)];
  return {
    start: settings.read<string>('timestep_spacing', 'linspace') === 'leading' ? 'total' : 'sigma',
    table(steps) {
      const timesOfChain = times(steps);
      // log_linear spreads one level more than there are steps, from end to end of the forward process.
      const levels = logLinear
        ? exponentialSigmas({ steps: steps + 1, min: lowest, max: highest }).slice(0, -1)
        : timesOfChain.map((t) => noiseRatioAt(chain, t));
      const last = toFirst ? lowest : 0;
      if (spread) {
        const ratios = spread.levels({ steps, min: levels.at(-1)!, max: levels[0]! });
        const timeOf = continuous ?? discreteTime(chain);
        const rounds = karrasTimesRounded && spread.rounded;
        return ratioRows(ratios, last, rounds ? (at) => roundHalfEven(timeOf(at)) : timeOf);
      }
      if (continuous) return ratioRows(levels, last, continuous);
      // Then its last level is where the run ends, whatever final_sigmas_type says.
      const [rows, end] = logLinear ? [levels.slice(0, -1), levels.at(-1)!] : [levels, last];
      return ratioRows(rows, end, timesOfChain);
    },
  };
}

/** Variance-exploding rows with these levels and a last one; times of a clock, or one for each. */
function ratioRows(levels: Float64Array, last: number, times: TimeOf | Float64Array): NoiseSchedule<'ve'> {
  const sigma = Float64Array.from([...levels, ended(last, levels.at(-1)!)]);
  const time = typeof times === 'function' ? levels.map((sigma) => times({ alpha: 1, sigma })) : times;
  return customSchedule('ve', { alpha: sigma.map(() => 1), sigma, time: Float64Array.from([...time, 0]) });
}

/** How the multistep classes differ in the same table. */
export interface MultistepRules {
  /** `clean`; `first`, the forward process's first level; or `repeated`: that too, but where levels are spread, the last again. */
  readonly final: 'clean' | 'first' | 'repeated';
  /** Whether times of Karras levels are whole on the cosine schedule too; elsewhere they are. */
  readonly roundsCosine: boolean;
}

/** Rows of DPM-Solver, DEIS and UniPC. */
export function multistepSchedule(
  settings: Settings,
  process: DiscreteProcess,
  { final, roundsCosine }: MultistepRules,
): MakeTable {
  const chain = endingFinite(process);
  const spread = spreadOf(settings);
  const cosine = settings.read<string>('beta_schedule', 'linear') === 'squaredcos_cap_v2';
  const whole = spread?.rounded && (roundsCosine || !cosine) ? roundHalfEven : Math.trunc;
  const spacing = settings.read<Spacing>('timestep_spacing', 'linspace', SPACINGS);
  const offset = settings.read('steps_offset', 0);
  // Times of more noise than this are left out; the file's -Infinity is read as null.
  const lambdaMin = settings.number('lambda_min_clipped') ?? Number.NEGATIVE_INFINITY;
  const total = process.alpha.length;
  const ratios = ratios32(chain);
  const [lowest, highest] = [ratios[0]!, ratios.at(-1)!];
  const clock = discreteTime({ alpha: ratios.map(() => 1), sigma: ratios }, { precision: 'float32' });
  return (steps) => {
    if (spread) {
      const levels = spread.levels({ steps, min: lowest, max: highest });
      const last = levels.at(-1)!;
      const end = final === 'clean' ? 0 : final === 'first' ? ended(lowest, last) : last;
      const time = levels.map((ratio) => whole(clock({ alpha: 1, sigma: ratio })));
      const rows = ratioSchedule('vp', [...levels, end]);
      return customSchedule('vp', { ...rows, time: Float64Array.from([...time, 0]) });
    }
    const length = chain.alpha.filter((a, t) => Math.log(a / chain.sigma[t]!) >= lambdaMin).length;
    const times = {
      leading: () => leadingTimesteps(length, steps + 1, { offset }).slice(0, -1),
      trailing: () =>
        trailing(total, steps)
          .map((t) => t - (total - length))
          .filter((t) => t >= 0),
      linspace: () => linspaceTimesteps(length, steps, { dropLast: true }),
    }[spacing]();
    return timestepSchedule(chain, times, { final: final === 'clean' ? 'clean' : 'first' });
  };
}

/** The last level: never above the one before it by a rounding. */
function ended(final: number, before: number): number {
  return Math.abs(final / before - 1) < 1e-6 ? before : final;
}

/** Times of the forward process by timestep_spacing. */
function spaced(
  settings: Settings,
  process: DiscreteProcess,
  { whole }: { readonly whole: boolean },
): (steps: number) => Float64Array {
  const spacing = settings.read<Spacing>('timestep_spacing', 'linspace', SPACINGS);
  const offset = settings.read('steps_offset', 0);
  const total = process.alpha.length;
  return (steps) =>
    ({
      leading: () => leadingTimesteps(total, steps, { offset }),
      trailing: () => trailing(total, steps),
      linspace: () => {
        if (steps === 1) {
          throw refusal(
            'one step of timestep_spacing linspace is at time 0 there, where no noise is left to remove: take 2 steps or more, or trailing',
          );
        }
        return linspaceTimesteps(total, steps, { whole });
      },
    })[spacing]();
}

/** Trailing times, where diffusers does not make one too many. */
function trailing(total: number, steps: number): Float64Array {
  if (Math.ceil(total / (total / steps)) > steps) {
    throw refusal(
      `${steps} steps of timestep_spacing trailing come out as ${steps + 1} there by a rounding, the last at time -1: take another number of steps`,
    );
  }
  return trailingTimesteps(total, steps);
}

/** An error for what diffusers does and nobody wants. */
function refusal(what: string): InvalidArgumentError {
  return new InvalidArgumentError('samplerFromDiffusers', `we do not follow diffusers here: ${what}`);
}

/** Noise levels that are spread by a formula over a range. */
interface Spread {
  levels(range: { readonly steps: number; readonly min: number; readonly max: number }): Float64Array;
  /** Whether DPM-Solver and its kin round the times of these levels; else they cut them off. */
  readonly rounded: boolean;
}

/** The spread that the file wants, if any. Its sigma_min and sigma_max come before the range of the forward process. */
function spreadOf(settings: Settings, karrasTakesRange = true): Spread | undefined {
  const ways = {
    use_karras_sigmas: { make: karrasSigmas, rounded: true, ranged: karrasTakesRange },
    use_lu_lambdas: { make: luSigmas, rounded: true, ranged: false },
    use_exponential_sigmas: { make: exponentialSigmas, rounded: false, ranged: true },
    use_beta_sigmas: { make: betaSigmas, rounded: false, ranged: true },
  };
  const wanted = Object.entries(ways).filter(([key]) => settings.read(key, false));
  const exclusive = wanted.filter(([key]) => key !== 'use_lu_lambdas').map(([key]) => key);
  if (exclusive.length > 1) settings.problems.push(`expected one of ${exclusive.join(', ')}`);
  const way = wanted[0]?.[1];
  if (!way) return undefined;
  const own = way.ranged ? { min: settings.positive('sigma_min'), max: settings.positive('sigma_max') } : null;
  return {
    rounded: way.rounded,
    levels: ({ steps, min, max }) => way.make({ steps, min: own?.min ?? min, max: own?.max ?? max }).slice(0, -1),
  };
}
