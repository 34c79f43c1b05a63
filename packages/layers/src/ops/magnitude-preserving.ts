import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { silu } from './activations.js';
import { conv2d } from './conv2d.js';
import { linear } from './linear.js';

/** Epsilon of EDM2's normalisations of weights, features, queries, keys and values. */
export const magnitudeEpsilon = 1e-4;

/** Under a square root so that its gradient is finite at zero; beside the epsilon it changes no digit. */
const tiny = 1e-20;

/** Sum that keeps unit variance for unit-variance inputs: ((1-t) a + t b) / sqrt((1-t)^2 + t^2). EDM2, eq. 88. */
export function mpSum<T extends tf.Tensor>(a: T, b: T, t = 0.5): T {
  return tf.tidy(() => {
    const scale = 1 / Math.hypot(1 - t, t);
    return tf.add(tf.mul(a, (1 - t) * scale), tf.mul(b, t * scale)) as T;
  });
}

/**
 * Concatenation of channels in which `a` and `b` contribute equally (at t = 0.5) whatever their widths Na and Nb, and
 * which keeps unit variance: sqrt((Na + Nb) / ((1-t)^2 + t^2)) [(1-t) a / sqrt(Na), t b / sqrt(Nb)]. EDM2, eq. 103.
 * `[..., Na]`, `[..., Nb]` -> `[..., Na + Nb]`.
 */
export function mpCat<T extends tf.Tensor>(a: T, b: T, t = 0.5): T {
  return tf.tidy(() => {
    const [na, nb] = [a.shape.at(-1)!, b.shape.at(-1)!];
    const scale = Math.sqrt((na + nb) / ((1 - t) ** 2 + t ** 2));
    return tf.concat(
      [tf.mul(a, (scale * (1 - t)) / Math.sqrt(na)), tf.mul(b, (scale * t) / Math.sqrt(nb))],
      a.rank - 1,
    ) as T;
  });
}

/** SiLU that keeps unit variance for standard normal inputs: silu(x) / 0.596. EDM2, eq. 81. */
export function mpSilu<T extends tf.Tensor>(x: T): T {
  return tf.tidy(() => tf.div(silu(x), 0.596) as T);
}

/** Pixel norm: each vector of the last axis divided by its root mean square r, x / (r + 1e-4). EDM2, eq. 30. `[..., C]`. */
export function pixelNorm<T extends tf.Tensor>(x: T): T {
  return tf.tidy(() => {
    const rms = tf.sqrt(tf.add(tf.mean(tf.square(x), -1, true), tiny));
    return tf.div(x, tf.add(rms, magnitudeEpsilon)) as T;
  });
}

/**
 * Weights as EDM2 uses them in every pass: each output unit's vector w divided by ||w|| + 1e-4 sqrt(n), n its length, so
 * that a layer keeps the magnitude of its input. EDM2, eq. 47 and 66. Linear weights `[out, in]` or convolution kernels
 * `[kh, kw, in, out]`; the same shape back.
 *
 * @throws InvalidArgumentError for weights of another rank
 */
export function normalizeWeight<T extends tf.Tensor>(weight: T): T {
  return scaledToNorm(weight, 1);
}

/**
 * Weights as EDM2's forced weight normalisation leaves them before a training step: each output unit's vector scaled to
 * length sqrt(n), so that its elements have unit variance. EDM2, section 2.3 (configuration E).
 *
 * @throws InvalidArgumentError for weights of another rank
 */
export function unitVarianceWeight<T extends tf.Tensor>(weight: T): T {
  const axes = fanInAxes(weight);
  return scaledToNorm(weight, Math.sqrt(axes.reduce((n, axis) => n * weight.shape[axis]!, 1)));
}

/**
 * A linear layer or convolution that keeps the magnitude of its input: no bias, weights normalised in every pass
 * ({@link normalizeWeight}), times `gain` (1 when absent). EDM2, eq. 47. x `[..., in]` with a weight `[out, in]`, or
 * `[N, H, W, in]` with a kernel `[k, k, in, out]`, padded to the same size.
 */
export function mpConv<T extends tf.Tensor>(x: T, weight: tf.Tensor, gain?: tf.Tensor): T {
  return tf.tidy(() => {
    const unit = normalizeWeight(weight);
    const scaled = gain === undefined ? unit : tf.mul(unit, gain);
    if (weight.rank === 2) return linear(x, scaled, null);
    return conv2d(x as tf.Tensor4D, scaled, null, { padding: (weight.shape[0]! - 1) / 2 }) as tf.Tensor as T;
  });
}

function scaledToNorm<T extends tf.Tensor>(weight: T, length: number): T {
  const axes = fanInAxes(weight);
  const fanIn = axes.reduce((n, axis) => n * weight.shape[axis]!, 1);
  return tf.tidy(() => {
    const norm = tf.sqrt(tf.add(tf.sum(tf.square(weight), axes, true), tiny));
    return tf.mul(weight, tf.div(length, tf.add(norm, magnitudeEpsilon * Math.sqrt(fanIn)))) as T;
  });
}

/** The axes of one output unit. */
function fanInAxes(weight: tf.Tensor): number[] {
  if (weight.rank === 2) return [1];
  if (weight.rank === 4) return [0, 1, 2];
  throw new InvalidArgumentError(
    'normalizeWeight',
    `expected a weight [out, in] or [kh, kw, in, out], got [${weight.shape}]`,
  );
}
