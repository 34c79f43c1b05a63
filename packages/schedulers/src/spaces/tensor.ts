import * as tf from '@tensorflow/tfjs-core';
import { clipped } from '../clipping.js';
import type { Space } from './space.js';

type Shape = [number, number, number, number];

/** Images `[N, H, W, C]` of one shape on the current engine. Scalars are inputs of the engine's graph, never constants. */
export function tensorSpace(shape: Shape): Space<tf.Tensor4D> {
  return {
    combine: (...terms) =>
      tf.tidy(() => {
        const scaled = terms.filter(([c]) => c !== 0).map(([c, v]) => tf.mul<tf.Tensor4D>(v, c));
        if (scaled.length === 0) return tf.zeros<tf.Rank.R4>(shape);
        return scaled.reduce((sum, v) => tf.add<tf.Tensor4D>(sum, v));
      }),
    multiply: (a, b) => tf.mul<tf.Tensor4D>(a, b),
    exp: (v) => tf.exp(v),
    fromHost: (values) => tf.tensor4d(Float32Array.from(values), shape),
    limit: clipped,
    meanNorm: (v) => tf.tidy(() => tf.mean(tf.sqrt(tf.sum(tf.square(v), [1, 2, 3]))).dataSync()[0]!),
    scaledError: (v, a, b, absolute, relative) =>
      tf.tidy(() => {
        const scale = tf.maximum(tf.mul(tf.maximum(tf.abs(a), tf.abs(b)), relative), absolute);
        return tf.sqrt(tf.mean(tf.square(tf.div(v, scale)))).dataSync()[0]!;
      }),
  };
}
