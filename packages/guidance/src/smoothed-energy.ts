import type { AttentionInputs, Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Grid, type GridOf, gridLike } from './attention-grid.js';
import { awayFrom } from './autoguidance.js';
import { gaussianBlur } from './blur.js';
import { hooked } from './layers.js';
import type { LayerGuidanceOptions } from './perturbed-attention.js';

/** Settings of smoothed-energy guidance. */
export interface SmoothedEnergyOptions extends LayerGuidanceOptions {
  /** Deviation of the blur in tokens; Infinity (default) takes the mean, the paper's choice. */
  readonly deviation?: number | undefined;
  /** Which queries are the picture, for networks with other tokens beside it. */
  readonly grid?: GridOf | undefined;
}

/**
 * Smoothed-energy guidance: D + s (D - D~), D~ with the queries of the chosen layers blurred over the picture, which
 * flattens the energy of their attention. SEG (Hong 2024, arXiv 2408.00760).
 */
export function smoothedEnergy<C>(
  denoiser: Denoiser<C>,
  { scale, layers, deviation = Number.POSITIVE_INFINITY, grid }: SmoothedEnergyOptions,
): Denoiser<C> {
  const smoothed = hooked('smoothedEnergy', denoiser, layers, (has, x) => {
    const gridOf = grid ?? gridLike(x);
    return {
      attention: (call) =>
        has(call.by) ? call.attend({ q: blurQueries(call, gridOf(call), deviation) }) : call.attend(),
    };
  });
  return awayFrom(denoiser, smoothed, scale);
}

/** Blurs the queries `[N, h, T, d]` that are the picture, each channel of each head for itself. */
function blurQueries({ q }: AttentionInputs, { first, height, width }: Grid, deviation: number): tf.Tensor4D {
  return tf.tidy(() => {
    const [n, heads, tokens, d] = q.shape;
    const count = height * width;
    const picture = tf.slice(q, [0, 0, first, 0], [-1, -1, count, -1]);
    const maps = tf.reshape(picture, [n * heads, height, width, d]) as tf.Tensor4D;
    const blurred = tf.reshape(gaussianBlur(maps, deviation), [n, heads, count, d]) as tf.Tensor4D;
    if (count === tokens) return blurred;
    const before = tf.slice(q, [0, 0, 0, 0], [-1, -1, first, -1]);
    const after = tf.slice(q, [0, 0, first + count, 0], [-1, -1, tokens - first - count, -1]);
    return tf.concat(
      [before, blurred, after].filter((part) => part.shape[2] > 0),
      2,
    );
  });
}
