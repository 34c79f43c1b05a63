import * as tf from '@tensorflow/tfjs-core';

/**
 * What a number of the output of an element-wise kernel costs in the convention of EDM2's tables (Karras et al. 2024, table
 * 6): 1 for arithmetic, 2 for a clamp, 3 for softmax and SiLU. A SiLU is a sigmoid and a product here, so the sigmoid
 * counts 2. Reductions, reshapes, concatenations and resampling cost nothing: of a norm, the squares and the quotient do.
 */
// biome-ignore format: a table
const costs: Readonly<Record<string, number>> = {
  ...Object.fromEntries([
    tf.Add, tf.Sub, tf.Multiply, tf.RealDiv, tf.Maximum, tf.Minimum, tf.Pow, tf.SquaredDifference, tf.Square, tf.Sqrt,
    tf.Rsqrt, tf.Neg, tf.Exp, tf.Log, tf.Cos, tf.Sin, tf.Tanh, tf.Erf, tf.Relu, tf.Abs,
  ].map((kernel) => [kernel, 1])),
  [tf.ClipByValue]: 2,
  [tf.Sigmoid]: 2,
  [tf.Softmax]: 3,
};

/** Operations of an element-wise kernel with an output of this shape; 0 for any other kernel. */
export function elementwiseFlops(kernel: string, shape: readonly number[]): number {
  const cost = costs[kernel] ?? 0;
  return cost === 0 ? 0 : shape.reduce((n, size) => n * size, cost);
}
