import * as tf from '@tensorflow/tfjs-core';
import type { KernelReplacement } from './kernel.js';

interface ReductionAttributes {
  readonly axis: number | readonly number[];
  readonly keepDims: boolean;
}

/**
 * Sum over axes that lie together: those before the last ones (pixels, rows), for which wasm would transpose first, 20
 * times slower, and the last ones, which it would add up one number after the other, with as many roundings.
 */
export const sum: KernelReplacement = (inputs, attributes, original) => {
  const block = blockOf(inputs.x!, attributes as ReductionAttributes);
  if (block === undefined) return original(inputs, attributes);
  if (block.inner > 1) return tf.mul(pooled(inputs.x!, block), block.count);
  return sumOfSums(inputs.x!, block) ?? original(inputs, attributes);
};

/** Mean over such axes. */
export const mean: KernelReplacement = (inputs, attributes, original) => {
  const block = blockOf(inputs.x!, attributes as ReductionAttributes);
  if (block === undefined) return original(inputs, attributes);
  if (block.inner > 1) return pooled(inputs.x!, block);
  const sums = sumOfSums(inputs.x!, block);
  return sums === undefined ? original(inputs, attributes) : tf.div(sums, block.count);
};

/** `[outer, count, inner]` of which `count` is summed over, and the shape of the result. */
interface Block {
  readonly outer: number;
  readonly count: number;
  readonly inner: number;
  readonly shape: number[];
}

/** Undefined where the axes are not such a block, or nothing is to be summed. */
function blockOf(x: tf.Tensor, { axis, keepDims }: ReductionAttributes): Block | undefined {
  if (x.dtype !== 'float32' || x.size === 0) return undefined;
  const axes = tf.util.parseAxisParam(axis as number | number[], x.shape).sort((a, b) => a - b);
  const [first, last] = [axes[0] ?? 0, axes.at(-1) ?? 0];
  const size = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);
  const [outer, count, inner] = [x.shape.slice(0, first), x.shape.slice(first, last + 1), x.shape.slice(last + 1)].map(
    size,
  ) as [number, number, number];
  if (axes.length !== last - first + 1 || count === 1) return undefined;
  const shape = x.shape.flatMap((d, i) => (i < first || i > last ? [d] : keepDims ? [1] : []));
  return { outer, count, inner, shape };
}

/** The mean over `count` is one average pool over an image of count x 1 pixels. */
function pooled(x: tf.Tensor, { outer, count, inner, shape }: Block): tf.Tensor {
  const image = tf.reshape(x, [outer, count, 1, inner]) as tf.Tensor4D;
  return tf.reshape(tf.avgPool(image, [count, 1], 1, 'valid'), shape);
}

/** Fewer numbers than these are added one after the other. */
const FEW = 128;

/** Adds up pieces and then their sums: of n numbers in a row, each goes through about 2 sqrt(n) roundings instead of n. */
function sumOfSums(x: tf.Tensor, { outer, count, shape }: Block): tf.Tensor | undefined {
  if (count < FEW) return undefined;
  let piece = Math.floor(Math.sqrt(count));
  while (count % piece !== 0) piece--;
  if (piece === 1) return undefined; // a prime
  return tf.reshape(tf.sum(tf.sum(tf.reshape(x, [outer, piece, count / piece]), 2), 1), shape);
}
