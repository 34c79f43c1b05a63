import type * as tf from '@tensorflow/tfjs-core';

/**
 * A noise level: x = alpha x0 + sigma eps. One form serves variance-exploding (alpha = 1), variance-preserving
 * (alpha^2 + sigma^2 = 1) and flow (alpha = 1 - sigma) processes.
 */
export interface NoiseLevel {
  readonly alpha: number;
  readonly sigma: number;
  /** The time that the network was trained with (for example the index 0..999), where the table has one. */
  readonly time?: number;
}

/** Noise levels from the first (noisiest) to the last, usually the clean one (sigma = 0). Numbers in float64. */
export interface NoiseLevels {
  readonly alpha: Float64Array;
  readonly sigma: Float64Array;
  /** Network times of the rows that a solver evaluates; absent where the time is a function of (alpha, sigma). */
  readonly time?: Float64Array;
}

/**
 * Estimates clean images. `x` is `[N, H, W, C]` at the noise level `at`, the same for the whole batch; the answer is the
 * estimate of x0, a new tensor that the caller disposes. `cond` is what the model is conditioned on.
 */
export type Denoiser<C = void> = (x: tf.Tensor4D, at: NoiseLevel, cond: C) => tf.Tensor4D;

/** What a network with learned variance says: x0 and, for each element, the share v in [0, 1] between the two bounds. */
export interface VariancePrediction {
  readonly x0: tf.Tensor4D;
  /** log variance = v log(beta) + (1 - v) log(beta tilde). Improved DDPM, eq. 15. */
  readonly interpolation: tf.Tensor4D;
}

/** A denoiser whose network also learned the variance of the reverse step. */
export type VarianceDenoiser<C = void> = (x: tf.Tensor4D, at: NoiseLevel, cond: C) => VariancePrediction;
