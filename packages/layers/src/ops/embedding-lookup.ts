import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { withGradient } from './with-gradient.js';

/**
 * Rows of a table: y[..., :] = table[ids[...], :]. table `[V, D]`, ids int32 `[...]` in [0, V); gives `[..., D]`. The
 * gradient adds up the rows of equal ids.
 *
 * @throws InvalidArgumentError when ids are not int32
 */
export function embeddingLookup(table: tf.Tensor, ids: tf.Tensor): tf.Tensor {
  if (ids.dtype !== 'int32') throw new InvalidArgumentError('embeddingLookup', `expected int32 ids, got ${ids.dtype}`);
  const [count, width] = table.shape as [number, number];
  return tf.tidy(() => {
    const flat = tf.reshape(ids, [-1]);
    const rows = withGradient(
      [table],
      ([table]) => ({ value: tf.gather(table!, flat as tf.Tensor1D), saved: [flat] }), // [M, D]
      (dy, _, [ids]) => [scatterRows(dy as tf.Tensor2D, ids as tf.Tensor1D, count)],
    );
    return tf.reshape(rows, [...ids.shape, width]);
  });
}

/** Sum of the rows of dy `[M, D]` by id: `[V, D]`. A product with one-hot rows where the engine has no segment sum. */
function scatterRows(dy: tf.Tensor2D, ids: tf.Tensor1D, count: number): tf.Tensor {
  if (tf.getKernel('UnsortedSegmentSum', tf.getBackend()) != null) return tf.unsortedSegmentSum(dy, ids, count);
  return tf.matMul(tf.cast(tf.oneHot(ids, count), 'float32') as tf.Tensor2D, dy, true, false);
}
