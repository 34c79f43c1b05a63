import * as tf from '@tensorflow/tfjs-core';
import type { KernelReplacement } from './register.js';

interface ReductionAttributes {
  readonly axis: number | readonly number[];
  readonly keepDims: boolean;
}

/** Sum over axes that lie together before the last ones (pixels, rows): wasm would transpose first, 20 times slower. */
export const sum: KernelReplacement = (inputs, attributes, original) => {
  const pooled = pool(inputs.x!, attributes as ReductionAttributes);
  return pooled === undefined ? original(inputs, attributes) : tf.mul(pooled.mean, pooled.count);
};

/** Mean over such axes. */
export const mean: KernelReplacement = (inputs, attributes, original) =>
  pool(inputs.x!, attributes as ReductionAttributes)?.mean ?? original(inputs, attributes);

/** `[A, R, B]` -> `[A, B]` is one average pool over an image of R x 1 pixels. Undefined where axes are not such a block. */
function pool(x: tf.Tensor, { axis, keepDims }: ReductionAttributes): { mean: tf.Tensor; count: number } | undefined {
  if (x.dtype !== 'float32' || x.size === 0) return undefined;
  const axes = tf.util.parseAxisParam(axis as number | number[], x.shape).sort((a, b) => a - b);
  const [first, last] = [axes[0] ?? 0, axes.at(-1) ?? 0];
  const size = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);
  const [outer, count, inner] = [x.shape.slice(0, first), x.shape.slice(first, last + 1), x.shape.slice(last + 1)].map(
    size,
  );
  if (axes.length !== last - first + 1 || inner === 1 || count === 1) return undefined;
  const image = tf.reshape(x, [outer!, count!, 1, inner!]) as tf.Tensor4D;
  const shape = x.shape.flatMap((d, i) => (i < first || i > last ? [d] : keepDims ? [1] : []));
  return { mean: tf.reshape(tf.avgPool(image, [count!, 1], 1, 'valid'), shape), count: count! };
}
