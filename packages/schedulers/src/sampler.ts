import { type Denoiser, InvalidArgumentError, type NoiseLevel, type VarianceDenoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Clipping, clipped, withClipping } from './clipping.js';
import type { Parameterisation } from './parameterisation.js';
import { denoiser, type Network, varianceDenoiser, withoutVariance } from './precondition.js';
import { createSolver, type SolverName, solvers } from './registry.js';
import type { ModelFor } from './run.js';
import {
  convertSchedule,
  levelAt,
  type NoiseSchedule,
  ratioSchedule,
  type ScheduleKind,
} from './schedules/schedule.js';
import { betaSigmas, exponentialSigmas, karrasSigmas } from './schedules/sigmas.js';
import type { TimeOf } from './schedules/time-of.js';
import type { Need, Solver } from './solver.js';
import type { SolverOptions } from './solver-options.js';

/** What a schedule depends on. */
export interface ScheduleRequest {
  /** Steps of the solver, as its users count them. */
  readonly steps: number;
  /** Tokens of the picture, where the levels depend on its size (SD3.5, FLUX); other models pass it over. */
  readonly tokens?: number | undefined;
  /** How much of a start picture is made anew, in (0, 1], for a sampler with `spreadsStrength`; others pass it over. */
  readonly strength?: number | undefined;
}

/** A function from denoiser to denoiser: guidance. */
export type Guide<C> = (denoiser: Denoiser<C>) => Denoiser<C>;

/** What moves estimates behind the limit, as a classifier does in guided-diffusion: by the solver's need. */
export interface AfterLimit<C> {
  readonly estimate: Guide<C>;
  readonly variance: (model: VarianceDenoiser<C>) => VarianceDenoiser<C>;
}

/**
 * How a model is sampled, whatever its kind: `samplerFromDiffusers` and `samplerFromProcess` make one, and nothing behind it
 * asks which of them did.
 */
export interface Sampler {
  /** What the network predicts. */
  readonly parameterisation: Parameterisation;
  /** The time that the network is given for a noise level; k-diffusion's `sigma_to_t`. */
  readonly timeOf: TimeOf;
  readonly solver: Solver<ScheduleKind, Need>;
  /** The range that estimates of x0 are brought into; null where they are not, as in most latent models. */
  readonly limit: Clipping | null;
  /** The network's second half of channels interpolates the variance (Improved DDPM). */
  readonly learnedVariance: boolean;
  /** All steps fit below a `strength` (LCM, TCD), where others leave their first ones out. */
  readonly spreadsStrength: boolean;
  /** The noise levels of a run, in a form that the solver takes. Throws an InvalidArgumentError for a number of steps that cannot be. */
  schedule(request: ScheduleRequest): NoiseSchedule;
  /** The standard deviation of the noise that a run on this schedule starts from; diffusers' `init_noise_sigma`. */
  initNoiseSigma(schedule: NoiseSchedule): number;
  /**
   * The network's time at which this fraction of the forward process lies below: where one model hands over to another
   * (diffusers' `denoising_end` is 1 - fraction). Throws an InvalidArgumentError where the process has no such time.
   */
  timeAt(fraction: number): number;
  /** The noise level at a time of a discrete process. Throws an InvalidArgumentError where the process has no such times. */
  levelAt(time: number): NoiseLevel;
  /** The network's estimates of x0, by `parameterisation` and `timeOf`. */
  denoiser<C = void>(network: Network<C>): Denoiser<C>;
  /** What is done to guided estimates: clipping or thresholding (unless the solver does it, as DDIM of diffusers), LCM's boundary. */
  finishEstimate<C>(guided: Denoiser<C>): Denoiser<C>;
  /**
   * What `solver` takes, from the raw network: denoiser, guidance, `finishEstimate` and what comes after it, with the learned variance
   * if it needs that.
   */
  model<C = void>(network: Network<C>, guide?: Guide<C>, after?: AfterLimit<C>): ModelFor<Need, C>;
  /** The same model with its estimates brought into another range, by what the own solver does not do itself. */
  withLimit(limit: Clipping | null): Sampler;
  /** The same model with another solver, its options checked. Keeps the limit; leaves out what belongs to the old solver. */
  withSolver(name: SolverName, options?: SolverOptions): Sampler;
}

/** What a sampler is made of. */
export interface SamplerParts {
  readonly parameterisation: Parameterisation;
  readonly timeOf: TimeOf;
  readonly solver: Solver<ScheduleKind, Need>;
  readonly limit?: Clipping | null;
  readonly learnedVariance?: boolean;
  readonly spreadsStrength?: boolean;
  /**
   * The levels that the model's makers take.
   *
   * @param inSigma true for a solver that steps in sigma / alpha itself (`SolverEntry.stepsInSigma`)
   */
  levels(request: ScheduleRequest, inSigma: boolean): NoiseSchedule;
  /** The smallest and largest sigma / alpha of the process, for spacings that are asked for by name. */
  readonly ratios: { readonly min: number; readonly max: number };
  /** The first row's sigma when absent. */
  initNoiseSigma?(schedule: NoiseSchedule): number;
  timeAt?(fraction: number): number;
  levelAt?(time: number): NoiseLevel | undefined;
  /** What the own solver wants in the place of bringing estimates into the limit, which it is given. */
  readonly finishEstimate?: <C>(guided: Denoiser<C>, limit: Clipping | null) => Denoiser<C>;
}

/** Noise levels spaced by a formula over the range of a process. */
const spacings = { karras: karrasSigmas, exponential: exponentialSigmas, beta: betaSigmas } as const;

/** Makes a sampler. */
export function sampler(parts: SamplerParts): Sampler {
  return build(parts, {}, false);
}

function build(parts: SamplerParts, options: SolverOptions, inSigma: boolean): Sampler {
  const { sigmas, rho } = options;
  const { parameterisation, timeOf, solver, limit = null, ratios } = parts;
  const { learnedVariance = false, spreadsStrength = false } = parts;
  if (solver.needs === 'variance' && !learnedVariance) {
    throw new InvalidArgumentError(solver.name, 'needs a network that learned the variance: choose another solver');
  }
  const estimates = <C>(network: Network<C>): Denoiser<C> =>
    learnedVariance
      ? withoutVariance(varianceDenoiser(network, parameterisation, { clock: timeOf }))
      : denoiser(network, parameterisation, { clock: timeOf });
  const finish: Sampler['finishEstimate'] = (guided) => (parts.finishEstimate ?? withClipping)(guided, limit);
  return {
    parameterisation,
    timeOf,
    solver,
    limit,
    learnedVariance,
    spreadsStrength,
    schedule(request) {
      if (sigmas === undefined || sigmas === 'model') return fitted(parts.levels(request, inSigma), solver);
      const space = spacings[sigmas as keyof typeof spacings];
      const options = { ...ratios, steps: request.steps, ...(typeof rho === 'number' && { rho }) };
      return ratioSchedule(solver.kinds[0]!, space(options), timeOf);
    },
    initNoiseSigma: (schedule) => parts.initNoiseSigma?.(schedule) ?? levelAt(schedule, 0).sigma,
    timeAt(fraction) {
      if (parts.timeAt) return parts.timeAt(fraction);
      throw new InvalidArgumentError(
        'sampler',
        'this model cannot hand over to another: its noise levels are not timed',
      );
    },
    levelAt(time) {
      const level = parts.levelAt?.(time);
      if (level !== undefined) return level;
      throw new InvalidArgumentError('sampler', `expected a time of a discrete process, got ${time}`);
    },
    denoiser: estimates,
    finishEstimate: finish,
    model<C>(network: Network<C>, guide: Guide<C> = (plain) => plain, after?: AfterLimit<C>): ModelFor<Need, C> {
      if (solver.needs === 'estimate') {
        const limited = finish(guide(estimates(network)));
        return after ? after.estimate(limited) : limited;
      }
      const learned = varianceDenoiser(network, parameterisation, { clock: timeOf });
      const limited = withVarianceLimit(guideVariance(learned, guide), limit);
      return (after ? after.variance(limited) : limited) as unknown as ModelFor<Need, C>;
    },
    withLimit(other) {
      return build({ ...parts, limit: other }, options, inSigma);
    },
    withSolver(name, options = {}) {
      const { finishEstimate: _, ...rest } = parts;
      return build({ ...rest, solver: createSolver(name, options) }, options, solvers[name].stepsInSigma);
    },
  };
}

/** The same levels in a form that the solver takes. */
function fitted(schedule: NoiseSchedule, { kinds }: Solver): NoiseSchedule {
  const kind = kinds.find((kind) => kind === schedule.kind) ?? kinds[0]!;
  return kind === schedule.kind ? schedule : convertSchedule(schedule, kind);
}

function withVarianceLimit<C>(model: VarianceDenoiser<C>, limit: Clipping | null): VarianceDenoiser<C> {
  if (limit === null) return model;
  return (x, at, cond) => {
    const { x0, interpolation } = model(x, at, cond);
    return { x0: tf.tidy(() => clipped(x0, limit)), interpolation };
  };
}

/**
 * Guides the x0 estimate of a network with learned variance and keeps the variance of its first pass (the
 * conditional one, but for `composed`), as ADM samples with guidance: `guideVariance(d, (d) => classifierFree(d, options))`.
 * A guidance that asks the network nothing (the first steps of CFG-Zero*) leaves the variance of a plain pass.
 */
export function guideVariance<C>(denoiser: VarianceDenoiser<C>, guide: Guide<C>): VarianceDenoiser<C> {
  return (x: tf.Tensor4D, at: NoiseLevel, cond: C) => {
    // The conditional pass is the first one (the first half of a batched one). Its shares must outlive guidance's tidy.
    let shares: tf.Tensor4D | undefined;
    try {
      const x0 = guide((noisy, level, c) => {
        const said = denoiser(noisy, level, c);
        shares ??= tf.keep(tf.clone(said.interpolation));
        tf.dispose(said.interpolation);
        return said.x0;
      })(x, at, cond);
      if (shares !== undefined) return { x0, interpolation: tf.slice(shares, 0, x.shape[0]) };
      const plain = denoiser(x, at, cond);
      plain.x0.dispose();
      return { x0, interpolation: plain.interpolation };
    } finally {
      tf.dispose(shares);
    }
  };
}
