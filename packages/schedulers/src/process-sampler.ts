import type { Limit } from './limit.js';
import { edm, epsilon, flow, type Parameterisation, velocity, x0 } from './parameterisation.js';
import { createSolver, type SolverName } from './registry.js';
import { type Sampler, sampler } from './sampler.js';
import type { SolverOptions } from './solver-options.js';
import { cosineBetas, linearBetas, scaledLinearBetas } from './tables/betas.js';
import { type Clock, discreteClock, edmClock, flowClock } from './tables/clock.js';
import { shiftFlow, uniformFlowSigmas } from './tables/flow.js';
import { type DiscreteProcess, discreteProcess, noiseRatioAt, processLevel } from './tables/process.js';
import { karrasSigmas } from './tables/sigmas.js';
import { flowTable, ratioTable, sigmaTable, timestepTable } from './tables/table.js';
import { trailingTimesteps } from './tables/timesteps.js';

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
  readonly limit: Limit | null;
  /** The network's time of a level in the place of the process's own. */
  readonly timeOf?: Clock;
}

const curves = {
  linear: (count: number) => linearBetas({ count }),
  'scaled-linear': (count: number) => scaledLinearBetas({ count }),
  cosine: cosineBetas,
} as const;

const predictions: Readonly<Record<'eps' | 'x0' | 'v', Parameterisation>> = { eps: epsilon, x0, v: velocity };

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
      const own = timeOf ?? discreteClock(chain);
      const [min, max] = [noiseRatioAt(chain, 0), noiseRatioAt(chain, process.steps - 1)];
      return {
        parameterisation: predictions[process.prediction],
        timeOf: own,
        learnedVariance: process.learnedVariance,
        ratios: { min, max: Math.min(max, MOST_RATIO) },
        levels: ({ steps }: { readonly steps: number }, inSigma: boolean) =>
          inSigma
            ? ratioTable('vp', karrasSigmas({ steps, min, max: Math.min(max, MOST_RATIO) }), own)
            : timestepTable(chain, trailingTimesteps(process.steps, steps)),
        levelAt: (time: number) => processLevel(chain, time),
        timeAt: (fraction: number) => Math.round(process.steps * fraction),
      };
    }
    case 'edm': {
      const [min, max] = [process.sigmaMin, process.sigmaMax];
      const own = timeOf ?? edmClock;
      return {
        parameterisation: edm(process),
        timeOf: own,
        ratios: { min, max },
        levels: ({ steps }: { readonly steps: number }) => sigmaTable(karrasSigmas({ steps, min, max }), own),
      };
    }
    case 'flow': {
      const own = timeOf ?? flowClock(process.timeScale);
      return {
        parameterisation: flow,
        timeOf: own,
        ratios: { min: 1e-3, max: MOST_RATIO },
        levels: ({ steps }: { readonly steps: number }) =>
          flowTable(shiftFlow(uniformFlowSigmas(steps), process.shift), own),
        timeAt: (fraction: number) => process.timeScale * fraction,
      };
    }
  }
}
