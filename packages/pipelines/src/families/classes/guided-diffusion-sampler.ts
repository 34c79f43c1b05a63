import {
  type Clipping,
  createSolver,
  discreteTime,
  epsilon,
  karrasSigmas,
  noiseRatioAt,
  processOf,
  ratioSchedule,
  respacedTimesteps,
  type Sampler,
  sampler,
  timestepSchedule,
} from '@mezzotint/schedulers';

/** The most noise, as sigma / alpha, that a solver which steps in it starts from. Karras et al. 2022, table 1. */
const MOST_RATIO = 80;

/**
 * How guided-diffusion, Improved DDPM and DiT sample: ancestral steps with the learned variance on respaced times of a forward
 * process of 1000 steps (Nichol and Dhariwal 2021, section 4).
 */
export function guidedDiffusionSampler({
  betas = 'linear',
  learnedVariance,
  limit,
}: {
  readonly betas?: 'linear' | 'cosine';
  readonly learnedVariance: boolean;
  readonly limit: Clipping | null;
}): Sampler {
  const steps = 1000;
  const process = processOf({ betas, steps });
  const timeOf = discreteTime(process);
  const ratios = {
    min: noiseRatioAt(process, 0),
    max: Math.min(noiseRatioAt(process, steps - 1), MOST_RATIO),
  };
  return sampler({
    ...{ parameterisation: epsilon, timeOf, learnedVariance, limit, ratios },
    // Without a learned variance the larger of the two fixed ones, guided-diffusion's default.
    solver: createSolver(learnedVariance ? 'ddpm-learned' : 'ddpm-large'),
    levels: ({ steps: count }, inSigma) =>
      inSigma
        ? ratioSchedule('vp', karrasSigmas({ ...ratios, steps: count }), timeOf)
        : timestepSchedule(process, respacedTimesteps(steps, String(count))),
    timeAt: (fraction) => Math.round(steps * fraction),
  });
}
