import type { Clipping } from './clipping.js';
import { edm, epsilon, flow, type Parameterisation, vPrediction, x0 } from './parameterisation.js';
import { createSolver, type SolverName } from './registry.js';
import { type Sampler, sampler } from './sampler.js';
import { cosineBetas, linearBetas, scaledLinearBetas } from './schedules/betas.js';
import { shiftFlow, uniformFlowSigmas } from './schedules/flow.js';
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
    }
  | {
      readonly kind: 'flow';
      /** Shift of the levels towards noise; 1 is none. SD3 (Esser et al. 2024), eq. 23. */
      readonly shift: number;
      /** The network's time at pure noise: 1000 in SD3 and FLUX. */
      readonly timeScale: number;
    };

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
      const own = timeOf ?? edmTime;
      return {
        parameterisation: edm(process),
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
  }
}

/** The same levels with the times that a network is told in the place of the process's own. */
function timed(schedule: NoiseSchedule<'vp'>, timeOf: TimeOf | undefined): NoiseSchedule<'vp'> {
  if (timeOf === undefined) return schedule;
  return { ...schedule, time: schedule.sigma.map((_, row) => timeOf(levelAt(schedule, row))) };
}
