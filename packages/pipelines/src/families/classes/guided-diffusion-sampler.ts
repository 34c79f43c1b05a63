import {
  type Clipping,
  cosineBetas,
  createSolver,
  discreteProcess,
  discreteTime,
  epsilon,
  karrasSigmas,
  linearBetas,
  type NoiseSchedule,
  noiseRatioAt,
  ratioSchedule,
  respacedTimesteps,
  type Sampler,
  sampler,
  type TimeOf,
  timestepSchedule,
} from '@mezzotint/schedulers';

/** The most noise, as sigma / alpha, that a solver which steps in it starts from. Karras et al. 2022, table 1. */
const MOST_RATIO = 80;

/** The forward process of a network of guided-diffusion or improved-diffusion. */
export interface Chain {
  readonly betas: 'linear' | 'cosine';
  /** Number of steps. */
  readonly steps: number;
  /** What the network is told is this times the step (`rescale_timesteps` of improved-diffusion: 1000 / steps). */
  readonly timeScale: number;
}

/** Both libraries' own. */
const usual: Chain = { betas: 'linear', steps: 1000, timeScale: 1 };

const improved: Chain = { betas: 'cosine', steps: 4000, timeScale: 1000 / 4000 };

/**
 * The process that a published file was trained on, by the name of its preset; `usual` for all others, among them files that people trained. From the READMEs of both
 * repositories.
 */
const chains: Readonly<Record<string, Chain>> = {
  'adm-64': { ...usual, betas: 'cosine' },
  'iddpm-cifar10': improved,
  'iddpm-64': improved,
  'iddpm-64-cond': { ...improved, timeScale: 1 },
  'iddpm-64-256-upsampler': { ...usual, steps: 4000 },
};

/** The process of a published file (`publishedADM`) or of any other, with other betas where they are given. */
export function chainOf(published: string | null, betas?: Chain['betas']): Chain {
  const chain = (published !== null && chains[published]) || usual;
  return betas === undefined ? chain : { ...chain, betas };
}

/**
 * How guided-diffusion, Improved DDPM and DiT sample: ancestral steps with the learned variance on respaced times of a forward
 * process of 1000 steps, or of what the model was trained on (Nichol and Dhariwal 2021, section 4).
 */
export function guidedDiffusionSampler({
  chain = usual,
  learnedVariance,
  limit,
}: {
  readonly chain?: Chain;
  readonly learnedVariance: boolean;
  readonly limit: Clipping | null;
}): Sampler {
  const { steps, timeScale } = chain;
  // Other numbers of steps than 1000 divide the same process (guided-diffusion's `get_named_beta_schedule`).
  const betas =
    chain.betas === 'cosine' ? cosineBetas(steps) : linearBetas({ count: steps, start: 0.1 / steps, end: 20 / steps });
  const process = discreteProcess(betas);
  const index = discreteTime(process);
  const timeOf: TimeOf = (level) => timeScale * index(level);
  const told = (schedule: NoiseSchedule<'vp'>) => ({
    ...schedule,
    time: schedule.time!.map((time) => timeScale * time),
  });
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
        : told(timestepSchedule(process, respacedTimesteps(steps, String(count)))),
    timeAt: (fraction) => timeScale * Math.round(steps * fraction),
  });
}
