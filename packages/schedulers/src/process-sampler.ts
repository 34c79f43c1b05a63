import type { Clipping } from './clipping.js';
import { edm, epsilon, flow, type Parameterisation, selfPreconditioned, vPrediction, x0 } from './parameterisation.js';
import { createSolver, type SolverName } from './registry.js';
import { type Sampler, sampler } from './sampler.js';
import { cosineBetas, linearBetas, scaledLinearBetas } from './schedules/betas.js';
import { shiftFlow, uniformFlowSigmas } from './schedules/flow.js';
import { cosineGamma, GAMMA_MIN, logGamma, offsetCosineGamma, sigmoidGamma } from './schedules/gamma.js';
import {
  cosineLogSnr,
  interpolatedCosineLogSnr,
  type LogSnr,
  logSnrSchedule,
  logSnrTime,
} from './schedules/log-snr.js';
import { type DiscreteProcess, discreteProcess, noiseRatioAt, processLevel } from './schedules/process.js';
import {
  flowSchedule,
  levelAt,
  type NoiseSchedule,
  ratioSchedule,
  sigmaSchedule,
  timestepSchedule,
} from './schedules/schedule.js';
import { karrasSigmas } from './schedules/sigmas.js';
import { discreteTime, edmTime, flowTime, type TimeOf } from './schedules/time-of.js';
import { trailingTimesteps } from './schedules/timesteps.js';
import type { SolverOptions } from './solver-options.js';

/** The forward process of a model and what its network predicts, as a configuration writes it. */
export type ProcessConfig =
  | {
      readonly kind: 'discrete';
      /** Variances of the steps. */
      readonly betas: 'linear' | 'scaled-linear' | 'cosine';
      /** Number of steps, 1000 in most models. */
      readonly steps: number;
      readonly prediction: 'eps' | 'x0' | 'v';
      /** The network's second half of channels interpolates the variance (Improved DDPM). */
      readonly learnedVariance: boolean;
    }
  | {
      readonly kind: 'edm';
      /** Standard deviation of the data in [-1, 1]. */
      readonly sigmaData: number;
      readonly sigmaMin: number;
      readonly sigmaMax: number;
      /** True where the network preconditions itself: it takes x and sigma, and gives the estimate of x0 (EDM's and EDM2's classes). */
      readonly denoises?: boolean | undefined;
    }
  | {
      readonly kind: 'flow';
      /** Shift of the levels towards noise; 1 is none. SD3 (Esser et al. 2024), eq. 23. */
      readonly shift: number;
      /** The network's time at pure noise: 1000 in SD3 and FLUX. */
      readonly timeScale: number;
    }
  | {
      /** Variance-preserving in continuous time, by its log SNR. */
      readonly kind: 'log-snr';
      readonly curve: LogSnrCurve;
      /** The curve whose levels sampling steps over, `curve` when absent. RIN samples along a cosine whatever it was trained on. */
      readonly samplingCurve?: LogSnrCurve | undefined;
      readonly prediction: 'eps' | 'x0' | 'v';
      /** What the network is told: timeScale u of the curve, the log SNR, or timeScale gamma with gamma = alpha^2. */
      readonly time: 'fraction' | 'log-snr' | 'gamma';
      readonly timeScale: number;
    };

/** A falling curve of log SNR over u in [0, 1]. */
export type LogSnrCurve =
  /** The cosine schedule cut to [min, max], then shifted: simple diffusion (Hoogeboom et al. 2023), section 2. */
  | { readonly kind: 'cosine'; readonly min: number; readonly max: number; readonly shift: number }
  /** A piece of a sigmoid as gamma = alpha^2: Chen 2023, "On the importance of noise scheduling", section 2. */
  | { readonly kind: 'sigmoid'; readonly start: number; readonly end: number; readonly tau: number }
  /** From the cosine shifted to `low` pixels at u = 0 to that shifted to `high`, `size` when absent: simple diffusion, eq. 6. */
  | {
      readonly kind: 'interpolated-cosine';
      readonly size: number;
      readonly low: number;
      readonly high?: number | undefined;
      readonly min: number;
      readonly max: number;
    }
  /** gamma = 1 - u: Chen 2023, section 2; what RIN's published models were trained on. */
  | { readonly kind: 'gamma-linear' }
  /** A piece of cos(pi t / 2)^(2 tau) as gamma, stretched to [0, 1]: Chen 2023, section 2. */
  | { readonly kind: 'gamma-cosine'; readonly start: number; readonly end: number; readonly tau: number }
  /** cos^2(pi/2 (u + 0.0002) / 1.00025) as gamma: pix2seq's `cosine`, along which all its evaluations of RIN sample. */
  | { readonly kind: 'gamma-offset-cosine' }
  /** A piece of -log(t) as gamma, stretched to [0, 1]; reversed, from `end` to `start`: pix2seq's `log@start,end,reversed`. */
  | { readonly kind: 'gamma-log'; readonly start: number; readonly end: number; readonly reversed: boolean };

/**
 * log SNR at u in [0, 1].
 *
 * @throws InvalidArgumentError for a curve that does not fall
 */
export function logSnrOf(curve: LogSnrCurve): LogSnr {
  switch (curve.kind) {
    case 'cosine': {
      const cosine = cosineLogSnr(curve);
      return (u) => cosine(u) + curve.shift;
    }
    case 'interpolated-cosine': {
      const { size, low, high = size, min, max } = curve;
      return interpolatedCosineLogSnr({ size, low, high, min, max });
    }
    case 'gamma-linear':
      return logSnrOfGamma((u) => 1 - u);
    case 'gamma-cosine':
      return logSnrOfGamma(cosineGamma(curve));
    case 'gamma-offset-cosine':
      return logSnrOfGamma(offsetCosineGamma);
    case 'gamma-log':
      return logSnrOfGamma(logGamma(curve));
    case 'sigmoid':
      return logSnrOfGamma(sigmoidGamma(curve));
  }
}

function logSnrOfGamma(gamma: (u: number) => number): LogSnr {
  return (u) => {
    const inside = Math.min(1 - GAMMA_MIN, Math.max(GAMMA_MIN, gamma(u)));
    return Math.log(inside / (1 - inside));
  };
}

/** What a process does not say. */
export interface ProcessSamplerOptions {
  readonly solver: SolverName;
  readonly solverOptions?: SolverOptions;
  /** The range of estimates: [-1, 1] for pixels, null for latents. */
  readonly limit: Clipping | null;
  /** The network's time of a level in the place of the process's own. */
  readonly timeOf?: TimeOf;
}

const curves = {
  linear: (count: number) => linearBetas({ count }),
  'scaled-linear': (count: number) => scaledLinearBetas({ count }),
  cosine: cosineBetas,
} as const;

const predictions: Readonly<Record<'eps' | 'x0' | 'v', Parameterisation>> = { eps: epsilon, x0, v: vPrediction };

/** The most noise, as sigma / alpha, that a solver which steps in it starts from. Karras et al. 2022, table 1. */
const MOST_RATIO = 80;

/** The discrete process of a configuration. */
export function processOf({
  betas,
  steps,
}: {
  readonly betas: keyof typeof curves;
  readonly steps: number;
}): DiscreteProcess {
  return discreteProcess(curves[betas](steps));
}

/**
 * The sampler of a configured process. Discrete: trailing times, or Karras levels up to sigma / alpha = 80 for solvers that
 * step in it, whose steps would be thousands long where nearly nothing of the image is left. EDM: Karras levels. Flow: uniform
 * levels, shifted.
 *
 * @throws InvalidArgumentError when solver, options and process do not fit
 */
export function samplerFromProcess(process: ProcessConfig, options: ProcessSamplerOptions): Sampler {
  const { solver: name, solverOptions = {}, limit } = options;
  const made = sampler({ ...partsOf(process, options), solver: createSolver('euler'), limit });
  return made.withSolver(name, solverOptions);
}

/** sigma itself, which EDM's and EDM2's classes take. */
const sigmaTime: TimeOf = ({ alpha, sigma }) => sigma / alpha;

/** What a network of a process by log SNR is told. */
function timeOfLogSnr({ curve, time, timeScale }: Extract<ProcessConfig, { kind: 'log-snr' }>): TimeOf {
  if (time === 'log-snr') return logSnrTime;
  if (time === 'gamma') return ({ alpha, sigma }) => (timeScale * alpha ** 2) / (alpha ** 2 + sigma ** 2);
  const at = logSnrOf(curve);
  return (level) => {
    const wanted = logSnrTime(level);
    let [low, high] = [0, 1]; // the curve falls
    for (let i = 0; i < 50; i++) {
      const middle = (low + high) / 2;
      if (at(middle) > wanted) low = middle;
      else high = middle;
    }
    return (timeScale * (low + high)) / 2;
  };
}

function partsOf(process: ProcessConfig, { timeOf }: ProcessSamplerOptions) {
  switch (process.kind) {
    case 'discrete': {
      const chain = processOf(process);
      const own = timeOf ?? discreteTime(chain);
      const [min, max] = [noiseRatioAt(chain, 0), noiseRatioAt(chain, process.steps - 1)];
      return {
        parameterisation: predictions[process.prediction],
        timeOf: own,
        learnedVariance: process.learnedVariance,
        ratios: { min, max: Math.min(max, MOST_RATIO) },
        levels: ({ steps }: { readonly steps: number }, inSigma: boolean) =>
          inSigma
            ? ratioSchedule('vp', karrasSigmas({ steps, min, max: Math.min(max, MOST_RATIO) }), own)
            : timed(timestepSchedule(chain, trailingTimesteps(process.steps, steps)), timeOf),
        levelAt: (time: number) => processLevel(chain, time),
        timeAt: (fraction: number) => Math.round(process.steps * fraction),
      };
    }
    case 'edm': {
      const [min, max] = [process.sigmaMin, process.sigmaMax];
      const own = timeOf ?? (process.denoises ? sigmaTime : edmTime);
      return {
        parameterisation: process.denoises ? selfPreconditioned : edm(process),
        timeOf: own,
        ratios: { min, max },
        levels: ({ steps }: { readonly steps: number }) => sigmaSchedule(karrasSigmas({ steps, min, max }), own),
      };
    }
    case 'flow': {
      const own = timeOf ?? flowTime(process.timeScale);
      return {
        parameterisation: flow,
        timeOf: own,
        ratios: { min: 1e-3, max: MOST_RATIO },
        levels: ({ steps }: { readonly steps: number }) =>
          flowSchedule(shiftFlow(uniformFlowSigmas(steps), process.shift), own),
        timeAt: (fraction: number) => process.timeScale * fraction,
      };
    }
    case 'log-snr': {
      const curve = logSnrOf(process.samplingCurve ?? process.curve);
      const own = timeOf ?? timeOfLogSnr(process);
      const ratio = (u: number) => Math.exp(-curve(u) / 2);
      return {
        parameterisation: predictions[process.prediction],
        timeOf: own,
        ratios: { min: ratio(0), max: Math.min(ratio(1), MOST_RATIO) },
        levels: ({ steps }: { readonly steps: number }, inSigma: boolean) =>
          inSigma
            ? ratioSchedule('vp', karrasSigmas({ steps, min: ratio(0), max: Math.min(ratio(1), MOST_RATIO) }), own)
            : logSnrSchedule(curve, steps, { clock: own }),
      };
    }
  }
}

/** The same levels with the times that a network is told in the place of the process's own. */
function timed(schedule: NoiseSchedule<'vp'>, timeOf: TimeOf | undefined): NoiseSchedule<'vp'> {
  if (timeOf === undefined) return schedule;
  return { ...schedule, time: schedule.sigma.map((_, row) => timeOf(levelAt(schedule, row))) };
}
