import { InvalidArgumentError, type NoiseLevel } from '@mezzotint/core';
import type { TimedNoiseLevel } from './noise-distribution.js';
import { probit } from './probit.js';

/**
 * A discrete process by its time index t = 0 (nearly clean) .. T-1: x_t = alpha_t x0 + sigma_t eps,
 * alpha_t = sqrt(alphaBar_t), sigma_t = sqrt(1 - alphaBar_t). `discreteProcess` of `@mezzotint/schedulers` makes one.
 */
export interface ForwardProcess {
  readonly alpha: ArrayLike<number>;
  readonly sigma: ArrayLike<number>;
}

/**
 * Uniform over the steps of a discrete process; time = t. DDPM (Ho et al. 2020), algorithm 1, where t counts from 1.
 *
 * @throws InvalidArgumentError when it is not such a process
 */
export function uniformTimesteps(process: ForwardProcess): (u: number) => TimedNoiseLevel {
  checkProcess('uniformTimesteps', process);
  const { alpha, sigma } = process;
  return (u) => {
    const t = Math.min(Math.floor(u * alpha.length), alpha.length - 1);
    return { alpha: alpha[t]!, sigma: sigma[t]!, time: t };
  };
}

/** ln sigma ~ N(mean, std^2), alpha = 1. EDM (Karras et al. 2022), table 1: mean -1.2, std 1.2. */
export function logNormalSigmas({ mean = -1.2, std = 1.2 } = {}): (u: number) => NoiseLevel {
  return (u) => ({ alpha: 1, sigma: Math.exp(mean + std * normalAt(u)) });
}

/**
 * Flow matching with sigma = sigmoid(z), z ~ N(mean, std^2), alpha = 1 - sigma, time = timeScale sigma.
 * Stable Diffusion 3 (Esser et al. 2024), section 3.1, eq. 19.
 */
export function logitNormalFlow({ mean = 0, std = 1, timeScale = 1000 } = {}): (u: number) => TimedNoiseLevel {
  return (u) => {
    const sigma = 1 / (1 + Math.exp(-(mean + std * normalAt(u))));
    return { alpha: 1 - sigma, sigma, time: timeScale * sigma };
  };
}

/**
 * The continuous cosine process: alpha = cos a, sigma = sin a, the angle a uniform between the two where
 * log SNR = -2 ln tan a is `maxLogSnr` and `minLogSnr`; time = timeScale u.
 * Progressive Distillation (Salimans and Ho 2022), section 2, cut as in simple diffusion (Hoogeboom et al. 2023).
 */
export function cosineLevels({
  minLogSnr = -15,
  maxLogSnr = 15,
  timeScale = 1000,
} = {}): (u: number) => TimedNoiseLevel {
  const first = Math.atan(Math.exp(-0.5 * maxLogSnr));
  const last = Math.atan(Math.exp(-0.5 * minLogSnr));
  return (u) => {
    const angle = first + u * (last - first);
    return { alpha: Math.cos(angle), sigma: Math.sin(angle), time: timeScale * u };
  };
}

/** A normal at quantile u; u comes in steps of 2^-24 from 0, so half a step keeps it inside (0, 1). */
function normalAt(u: number): number {
  return probit(Math.min(u + 2 ** -25, 1 - 2 ** -25));
}

/** Throws an InvalidArgumentError that names `who` unless alpha^2 + sigma^2 = 1 at every one of at least one step. */
export function checkProcess(who: string, { alpha, sigma }: ForwardProcess): void {
  if (alpha.length === 0 || alpha.length !== sigma.length) {
    throw new InvalidArgumentError(
      who,
      `the process must have as many alpha as sigma, at least one, got ${alpha.length} and ${sigma.length}`,
    );
  }
  for (let t = 0; t < alpha.length; t++) {
    // 1e-3 admits tables that were rounded to float32.
    if (!(Math.abs(alpha[t]! ** 2 + sigma[t]! ** 2 - 1) < 1e-3)) {
      throw new InvalidArgumentError(
        who,
        `alpha^2 + sigma^2 must be 1 at every step, got alpha ${alpha[t]} and sigma ${sigma[t]} at step ${t}`,
      );
    }
  }
}
