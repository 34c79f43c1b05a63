import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

export interface TimestepEmbeddingOptions {
  /** The longest period is 2 pi times this; 10000 when absent. */
  readonly maxPeriod?: number;
  /** Which half comes first: `cos-sin` (ADM, DiT; the default) or `sin-cos` (DDPM). */
  readonly order?: 'cos-sin' | 'sin-cos';
  /** 0 (ADM, DiT; the default): frequencies maxPeriod^(-i / half). 1 (DDPM): maxPeriod^(-i / (half - 1)). */
  readonly downscaleShift?: number;
  /** Factor of t (FLUX: 1000). */
  readonly scale?: number;
}

/**
 * Sinusoidal embedding of times: cos(t f_i) and sin(t f_i) with f_i = maxPeriod^(-i / (half - downscaleShift)),
 * i < half = floor(dim / 2); an odd dim ends in a zero. Vaswani et al. 2017, section 3.5; DDPM, appendix B. t `[N]` in
 * the units of the model (0..999 for DDPM); gives `[N, dim]`.
 *
 * @throws InvalidArgumentError when dim leaves no frequency
 */
export function timestepEmbedding(
  t: tf.Tensor1D,
  dim: number,
  { maxPeriod = 10_000, order = 'cos-sin', downscaleShift = 0, scale = 1 }: TimestepEmbeddingOptions = {},
): tf.Tensor2D {
  const half = Math.floor(dim / 2);
  if (!(half > downscaleShift)) {
    throw new InvalidArgumentError(
      'timestepEmbedding',
      `expected dim / 2 above the downscale shift ${downscaleShift}, got dim ${dim}`,
    );
  }
  const frequencies = Float32Array.from({ length: half }, (_, i) => frequency(i, half - downscaleShift, maxPeriod));
  return tf.tidy(() => sinusoids(scale === 1 ? t : tf.mul(t, scale), tf.tensor1d(frequencies), order, dim % 2));
}

/**
 * maxPeriod^(-i / n), rounded where the references round, exp(-ln(maxPeriod) i / n) in float32: for FLUX's guidance of 7, which is told as 7000, an exact
 * frequency gives an angle that is off by 1e-4.
 */
function frequency(i: number, n: number, maxPeriod: number): number {
  const round = Math.fround;
  return round(Math.exp(round(round(round(-Math.log(maxPeriod)) * i) / n)));
}

/** `[cos(t f), sin(t f)]` or the other way round, and `zeros` columns of zeros: `[N, 2 half + zeros]`. */
export function sinusoids(t: tf.Tensor1D, f: tf.Tensor, order: 'cos-sin' | 'sin-cos', zeros = 0): tf.Tensor2D {
  const angle = tf.mul(tf.reshape(tf.cast(t, 'float32'), [-1, 1]), tf.reshape(f, [1, -1])) as tf.Tensor2D; // [N, half]
  const halves = order === 'cos-sin' ? [tf.cos(angle), tf.sin(angle)] : [tf.sin(angle), tf.cos(angle)];
  const both = tf.concat(halves, 1);
  return zeros === 0
    ? both
    : tf.pad(both, [
        [0, 0],
        [0, zeros],
      ]);
}
