import { InvalidArgumentError, type NoiseLevel, type RandomStream } from '@mezzotint/core';
import { probit } from './probit.js';

/** A noise level with the time that the network is told. */
export interface TimedNoiseLevel extends NoiseLevel {
  readonly time: number;
}

/** Draws the noise levels of a batch of n examples. */
export type NoiseDistribution<L extends NoiseLevel = TimedNoiseLevel> = (n: number, rng: RandomStream) => readonly L[];

/**
 * Noise levels by inversion: `levelAt` turns a uniform number into a level, `uniforms` says how the numbers of a batch
 * spread (`independent`, `stratified`, `lowDiscrepancy`). Any level distribution composes with any spread.
 */
export function noiseLevels<L extends NoiseLevel>(
  levelAt: (u: number) => L,
  uniforms: Uniforms = independent,
): NoiseDistribution<L> {
  return (n, rng) => Array.from(uniforms(n, rng), levelAt);
}

/** Where the noise levels of a batch fall: n numbers in [0, 1), each uniform on its own, together as they like. */
export type Uniforms = (n: number, rng: RandomStream) => Float64Array;

/** n independent uniforms. Draws n numbers. */
export const independent: Uniforms = (n, rng) => Float64Array.from(rng.rand(n));

/** One uniform in each of n equal slices, in order: u_i = (i + r_i) / n. Less variance of the loss. Draws n numbers. */
export const stratified: Uniforms = (n, rng) => Float64Array.from(rng.rand(n), (r, i) => (i + r) / n);

/**
 * A regular grid at a random offset: u_i = (r + i / n) mod 1. Draws one number.
 * Variational Diffusion Models (Kingma et al. 2021), appendix I.1.
 */
export const lowDiscrepancy: Uniforms = (n, rng) => {
  const offset = rng.rand(1)[0]!;
  return Float64Array.from({ length: n }, (_, i) => (offset + i / n) % 1);
};

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

/** What all flow distributions share. */
export interface FlowOptions {
  /** time = timeScale sigma; 1000 when absent. */
  readonly timeScale?: number;
  /** Moves levels to the noisy side: sigma' = s sigma / (1 + (s - 1) sigma). SD3, eq. 23; 1 when absent. */
  readonly shift?: number;
}

/** Flow matching with uniform sigma, alpha = 1 - sigma. Rectified flow (Liu et al. 2022). */
export function uniformFlow(options: FlowOptions = {}): (u: number) => TimedNoiseLevel {
  return flowOf((u) => u, options);
}

/** Flow matching with sigma = sigmoid(z), z ~ N(mean, std^2). Stable Diffusion 3 (Esser et al. 2024), eq. 19. */
export function logitNormalFlow({
  mean = 0,
  std = 1,
  ...options
}: FlowOptions & { readonly mean?: number; readonly std?: number } = {}): (u: number) => TimedNoiseLevel {
  return flowOf((u) => 1 / (1 + Math.exp(-(mean + std * normalAt(u)))), options);
}

/**
 * Flow matching with sigma = 1 - u - s (cos^2(pi u / 2) - 1 + u): heavy tails, and a mode in the middle for s > 0.
 * Stable Diffusion 3, eq. 20; s = 1.29 is its best.
 *
 * @throws InvalidArgumentError when s is not in [-1, 2 / (pi - 2)], where the curve rises and falls
 */
export function modeFlow({
  scale = 1.29,
  ...options
}: FlowOptions & { readonly scale?: number } = {}): (u: number) => TimedNoiseLevel {
  if (!(scale >= -1 && scale <= 2 / (Math.PI - 2))) {
    throw new InvalidArgumentError('modeFlow', `scale must be in [-1, ${2 / (Math.PI - 2)}], got ${scale}`);
  }
  return flowOf((u) => 1 - u - scale * (Math.cos((Math.PI / 2) * u) ** 2 - 1 + u), options);
}

/** Flow matching at the log SNR of the cosine schedule: sigma = 1 - 1 / (tan(pi u / 2) + 1). Stable Diffusion 3, eq. 21. */
export function cosineMapFlow(options: FlowOptions = {}): (u: number) => TimedNoiseLevel {
  return flowOf((u) => 1 - 1 / (Math.tan((Math.PI / 2) * u) + 1), options);
}

/** A density of a flow's levels by name: of Stable Diffusion 3, section 3.1, with its numbers. JSON. */
export type FlowDensity =
  | { readonly kind: 'uniform' }
  | { readonly kind: 'logit-normal'; readonly mean?: number | undefined; readonly std?: number | undefined }
  | { readonly kind: 'mode'; readonly scale?: number | undefined }
  | { readonly kind: 'cosine' };

/** A density of EDM's levels: ln sigma is normal. Karras et al. 2022, table 1. JSON. */
export interface SigmaDensity {
  readonly kind: 'log-normal';
  readonly mean: number;
  readonly std: number;
}

/** The levels of a density: {@link uniformFlow}, {@link logitNormalFlow}, {@link modeFlow} or {@link cosineMapFlow}. */
export function flowLevels(density: FlowDensity, options: FlowOptions = {}): (u: number) => TimedNoiseLevel {
  switch (density.kind) {
    case 'uniform':
      return uniformFlow(options);
    case 'logit-normal': {
      const { mean = 0, std = 1 } = density;
      return logitNormalFlow({ ...options, mean, std });
    }
    case 'mode':
      return modeFlow({ ...options, ...(density.scale !== undefined && { scale: density.scale }) });
    case 'cosine':
      return cosineMapFlow(options);
  }
}

function flowOf(sigmaAt: (u: number) => number, { timeScale = 1000, shift = 1 }: FlowOptions) {
  if (!(shift > 0)) throw new InvalidArgumentError('flow', `shift must be above 0, got ${shift}`);
  return (u: number): TimedNoiseLevel => {
    const plain = sigmaAt(u);
    const sigma = (shift * plain) / (1 + (shift - 1) * plain);
    return { alpha: 1 - sigma, sigma, time: timeScale * sigma };
  };
}

/** A level of a variance-preserving process in continuous time. */
export interface LogSnrLevel extends TimedNoiseLevel {
  /** ln(alpha^2 / sigma^2) */
  readonly logSnr: number;
  /** Density of the distribution in log SNR: 1 / |d logSnr / du|. */
  readonly density: number;
}

/**
 * alpha^2 = sigmoid(logSnr(u)), sigma^2 = sigmoid(-logSnr(u)), for a falling curve such as `shiftedCosineLogSnr` and
 * `interpolatedCosineLogSnr` of `@mezzotint/schedulers`. Variational Diffusion Models (Kingma et al. 2021), eq. 3.
 *
 * @param time what the network is told: timeScale u (1000 when absent), or the log SNR itself
 */
export function logSnrLevels(
  logSnr: (u: number) => number,
  { timeScale = 1000, time = 'uniform' }: { readonly timeScale?: number; readonly time?: 'uniform' | 'logSnr' } = {},
): (u: number) => LogSnrLevel {
  const h = 1e-5;
  return (u) => {
    const l = logSnr(u);
    const [low, high] = [Math.max(u - h, 0), Math.min(u + h, 1)];
    return {
      alpha: Math.sqrt(1 / (1 + Math.exp(-l))),
      sigma: Math.sqrt(1 / (1 + Math.exp(l))),
      time: time === 'logSnr' ? l : timeScale * u,
      logSnr: l,
      density: (high - low) / Math.abs(logSnr(high) - logSnr(low)),
    };
  };
}

/** Range, scale of time, and shift of the cosine process. */
export interface CosineOptions {
  readonly minLogSnr?: number;
  readonly maxLogSnr?: number;
  readonly timeScale?: number;
  readonly imageSize?: number;
  readonly noiseSize?: number;
}

/**
 * The continuous cosine process: alpha = cos a, sigma = sin a, the angle a uniform between the two where
 * log SNR = -2 ln tan a is `maxLogSnr` and `minLogSnr`; time = timeScale u.
 * Progressive Distillation (Salimans and Ho 2022), section 2, cut as in simple diffusion (Hoogeboom et al. 2023). For
 * pictures of `imageSize` pixels made as noisy as such of `noiseSize`: logSnr + 2 ln(noiseSize / imageSize) (the ends move
 * too).
 */
export function cosineLevels({
  minLogSnr = -15,
  maxLogSnr = 15,
  timeScale = 1000,
  imageSize = 1,
  noiseSize = imageSize,
}: CosineOptions = {}): (u: number) => LogSnrLevel {
  const first = Math.atan(Math.exp(-0.5 * maxLogSnr));
  const last = Math.atan(Math.exp(-0.5 * minLogSnr));
  const shift = 2 * Math.log(noiseSize / imageSize);
  return logSnrLevels((u) => -2 * Math.log(Math.tan(first + u * (last - first))) + shift, { timeScale });
}

/**
 * x_t = sqrt(gamma) x0 + sqrt(1 - gamma) eps at gamma(u), falling from 1: RIN's processes (`sigmoidGamma`, `cosineGamma`, `offsetCosineGamma` and `logGamma` of schedulers).
 * time = timeScale gamma, as RIN's network is told.
 */
export function gammaLevels(gamma: (u: number) => number, { timeScale = 1 } = {}): (u: number) => TimedNoiseLevel {
  return (u) => {
    const g = gamma(u);
    return { alpha: Math.sqrt(g), sigma: Math.sqrt(1 - g), time: timeScale * g };
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
