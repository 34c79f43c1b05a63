import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** A range that estimates of x0 are brought into. */
export type Clipping =
  /** Clipped to [-range, range]: for pixels, where x0 is known to lie there. */
  | { readonly kind: 'clip'; readonly range: number }
  /**
   * Dynamic thresholding: each image is clipped to [-s, s], s the quantile of its |x0| (at least 1, at most `max`), and divided
   * by s. Imagen (Saharia et al. 2022, arXiv 2205.11487), section 2.3.
   */
  | { readonly kind: 'threshold'; readonly quantile: number; readonly max: number };

/**
 * Estimates `[N, H, W, C]` brought into the range of a limit. For a threshold the numbers are sorted on the host.
 */
export function clipped(x0: tf.Tensor4D, limit: Clipping): tf.Tensor4D {
  if (limit.kind === 'clip') return tf.clipByValue(x0, -limit.range, limit.range);
  return tf.tidy(() => {
    const n = x0.shape[0];
    const values = x0.dataSync<'float32'>();
    const size = values.length / n;
    const scales = Array.from(
      { length: n },
      (_, i) => limitsOf(values.subarray(i * size, (i + 1) * size), limit).scale,
    );
    const s = tf.tensor4d(scales, [n, 1, 1, 1]);
    return tf.div(tf.minimum(tf.maximum(x0, tf.neg(s)), s), s);
  });
}

/** A denoiser whose estimates are brought into a range; without one it stays as it is. */
export function withClipping<C>(model: Denoiser<C>, limit: Clipping | null): Denoiser<C> {
  return limit ? (x, at, cond) => tf.tidy(() => clipped(model(x, at, cond), limit)) : model;
}

/** What one image is clipped to, and then divided by. */
export function limitsOf(
  image: Float32Array | Float64Array,
  limit: Clipping,
): { readonly bound: number; readonly scale: number } {
  if (limit.kind === 'clip') return { bound: limit.range, scale: 1 };
  const s = Math.min(Math.max(quantileOf(image.map(Math.abs).sort(), limit.quantile), 1), limit.max);
  return { bound: s, scale: s };
}

/** x kept in [-bound, bound]. */
export function clampTo(x: number, bound: number): number {
  return Math.min(Math.max(x, -bound), bound);
}

/** The quantile of sorted numbers, linear between neighbours (NumPy, PyTorch). */
function quantileOf(sorted: ArrayLike<number>, quantile: number): number {
  const at = quantile * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (at - low) * (sorted[high]! - sorted[low]!);
}
