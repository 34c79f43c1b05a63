import { InvalidArgumentError, type NoiseLevel } from '@mezzotint/core';
import type { TimedNoiseLevel } from './noise-distribution.js';
import { probit } from './probit.js';

/**
 * Uniform over the steps t = 0 .. T-1 of a discrete process: alpha = sqrt(alphaBar_t), sigma = sqrt(1 - alphaBar_t),
 * time = t. DDPM (Ho et al. 2020), algorithm 1, where t counts from 1.
 *
 * @param alphasCumprod alphaBar, T numbers in [0, 1]
 * @throws InvalidArgumentError when there is no step or a number is out of range
 */
export function uniformTimesteps(alphasCumprod: ArrayLike<number>): (u: number) => TimedNoiseLevel {
  checkAlphasCumprod('uniformTimesteps', alphasCumprod);
  return (u) => {
    const t = Math.min(Math.floor(u * alphasCumprod.length), alphasCumprod.length - 1);
    return { alpha: Math.sqrt(alphasCumprod[t]!), sigma: Math.sqrt(1 - alphasCumprod[t]!), time: t };
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

/** Throws an InvalidArgumentError that names `who` unless these are the alphaBar of a process. */
export function checkAlphasCumprod(who: string, alphasCumprod: ArrayLike<number>): void {
  if (alphasCumprod.length === 0) throw new InvalidArgumentError(who, 'alphasCumprod must hold at least one step');
  for (let t = 0; t < alphasCumprod.length; t++) {
    const value = alphasCumprod[t]!;
    if (!(value >= 0 && value <= 1)) {
      throw new InvalidArgumentError(who, `alphasCumprod[${t}] must be in [0, 1], got ${value}`);
    }
  }
}
