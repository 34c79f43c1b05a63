import * as tf from '@tensorflow/tfjs-core';
import type { KernelReplacement } from './kernel.js';

interface MatMulAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/**
 * wasm's fast product (XNNPACK) takes one pair of matrices that are not transposed; the rest goes through loops that
 * are 10 to 40 times slower, and that add a wrong bias in `_FusedMatMul`. So: transpose first, and one pair at a time.
 */
export const matMul: KernelReplacement = (inputs, attributes, original) => {
  const { transposeA, transposeB } = attributes as MatMulAttributes;
  if (inputs.a!.size === 0 || inputs.b!.size === 0) return original(inputs, attributes);
  const a = matrices(inputs.a!, transposeA); // [A, M, K]
  const b = matrices(inputs.b!, transposeB); // [B, K, N]
  const count = Math.max(a.shape[0], b.shape[0]);
  const batch = tf.backend_util.assertAndGetBroadcastShape(inputs.a!.shape.slice(0, -2), inputs.b!.shape.slice(0, -2));
  const plain = { ...(attributes as object), transposeA: false, transposeB: false };
  if (batch.reduce((n, d) => n * d, 1) !== count) return original(inputs, attributes); // batches [2, 1] and [1, 3]
  const products = Array.from({ length: count }, (_, i) =>
    original({ ...inputs, a: pick(a, i), b: pick(b, i) }, plain),
  );
  const product = products.length === 1 ? products[0]! : tf.concat(products, 0);
  return tf.reshape(product, [...batch, a.shape[1], b.shape[2]]);
};

/** `[..., M, K]`, or its transpose, as `[count, M, K]`. */
function matrices(t: tf.Tensor, transposed: boolean): tf.Tensor3D {
  const flat = tf.reshape<tf.Rank.R3>(t, [-1, t.shape.at(-2)!, t.shape.at(-1)!]);
  return transposed ? tf.transpose(flat, [0, 2, 1]) : flat;
}

/** The i-th matrix; the only one for every i. */
function pick(t: tf.Tensor3D, i: number): tf.Tensor3D {
  return t.shape[0] === 1 ? t : tf.slice(t, [i, 0, 0], [1, -1, -1]);
}
