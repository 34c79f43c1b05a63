import type { AttentionCall, Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Grid, type GridOf, gridLike } from './attention-grid.js';
import { axisMatrix, separable } from './axis-matrix.js';
import { gaussianBlur } from './blur.js';
import { hooked, type Layers } from './layers.js';
import { type Scale, scaleAt } from './scale.js';

/** Settings of self-attention guidance. */
export interface SelfAttentionOptions<C> {
  /** 0 is the network as it is; 0.75 in the paper for Stable Diffusion. */
  readonly scale: Scale;
  /** The one self-attention layer whose map is read: the middle block's. */
  readonly layer: Layers;
  /** What the network is given in the two passes that are compared: the unconditional input; the run's own if left out. */
  readonly condition?: C | undefined;
  /** Deviation of the blur in pixels; 1. */
  readonly deviation?: number | undefined;
  /** Taps of the blur, odd; 9. */
  readonly size?: number | undefined;
  /** Pixels are blurred where the attention they receive is above this; 1, the mean. */
  readonly threshold?: number | undefined;
  /** Which queries are the picture, for networks with other tokens beside it. */
  readonly grid?: GridOf | undefined;
}

/**
 * Self-attention guidance. The estimate is blurred where the network looks most, put back to noise with its own eps, and
 * the guidance goes away from what the network says of that: eps + s (eps - eps(x~)), which on estimates is
 * D + s (D_blurred - D(x~)), x~ = x + alpha (D_blurred - D). SAG (Hong et al. 2023, arXiv 2210.00939), algorithm 1.
 *
 * @returns a denoiser of x `[N, H, W, C]`
 */
export function selfAttention<C>(
  denoiser: Denoiser<C>,
  { scale, layer, condition, deviation = 1, size = 9, threshold = 1, grid }: SelfAttentionOptions<NoInfer<C>>,
): Denoiser<C> {
  return (x, at, cond) =>
    tf.tidy(() => {
      const strength = scaleAt(scale, at);
      if (strength === 0) return tf.clone(denoiser(x, at, cond));
      const given = condition ?? cond;
      const { answer, mask } = observed(denoiser, layer, grid ?? gridLike(x), threshold)(x, at, given);
      const blurred = tf.add<tf.Tensor4D>(answer, tf.mul(mask, tf.sub(gaussianBlur(answer, deviation, size), answer)));
      const worse = tf.add<tf.Tensor4D>(x, tf.mul(tf.sub(blurred, answer), at.alpha));
      const change = tf.mul<tf.Tensor4D>(tf.sub(blurred, denoiser(worse, at, given)), strength);
      return tf.add(given === cond ? answer : denoiser(x, at, cond), change);
    });
}

/** Runs the denoiser and keeps, beside its answer, where the layer looked more than `threshold`: `[N, H, W, 1]`. */
function observed<C>(denoiser: Denoiser<C>, layer: Layers, gridOf: GridOf, threshold: number) {
  return (x: tf.Tensor4D, at: Parameters<Denoiser<C>>[1], cond: C) => {
    let mask: tf.Tensor4D | undefined;
    const pass = hooked('selfAttention', denoiser, layer, (has) => ({
      attention(call) {
        if (has(call.by)) {
          mask?.dispose();
          // Kept, since the network's own tidy would free it; the clone below belongs to the caller's tidy.
          mask = tf.keep(tf.tidy(() => lookedAt(call, gridOf(call), x.shape, threshold)));
        }
        return call.attend();
      },
    }));
    try {
      const answer = pass(x, at, cond);
      return { answer, mask: tf.clone(mask!) };
    } finally {
      mask?.dispose();
    }
  };
}

/** Attention received by each pixel (mean over heads, sum over queries), above the threshold, in the size of x. */
function lookedAt(
  { q, k, mask, scale }: AttentionCall,
  { first, height, width }: Grid,
  [, h, w]: tf.Tensor4D['shape'],
  threshold: number,
): tf.Tensor4D {
  const scores = tf.mul(tf.matMul(q, k, false, true), scale);
  const shares = tf.softmax(mask ? tf.add(scores, mask) : scores); //                 [N, h, T, T]
  const received = tf.sum(tf.mean(shares, 1), 1); //                                  [N, T]
  const picture = tf.slice(received, [0, first], [-1, height * width]);
  const map = tf.reshape(picture, [-1, height, width, 1]) as tf.Tensor4D;
  return separable(tf.cast(tf.greater<tf.Tensor4D>(map, threshold), 'float32'), nearest(h, height), nearest(w, width));
}

/** Nearest-neighbour resizing of one axis. */
function nearest(out: number, length: number) {
  return axisMatrix(out, length, (i, add) => {
    add(Math.floor((i * length) / out), 1);
  });
}
