import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { withGradient } from './with-gradient.js';

/**
 * Rows of a table: y[..., :] = table[ids[...], :]. table `[V, D]`, ids int32 `[...]` in [0, V); gives `[..., D]`. The
 * gradient adds up the rows of equal ids.
 *
 * @throws InvalidArgumentError when ids are not int32, or one is outside of [0, V) (where the engine computes it now)
 */
export function embeddingLookup(table: tf.Tensor, ids: tf.Tensor): tf.Tensor {
  if (ids.dtype !== 'int32') throw new InvalidArgumentError('embeddingLookup', `expected int32 ids, got ${ids.dtype}`);
  const [count, width] = table.shape as [number, number];
  return tf.tidy(() => {
    const flat = tf.reshape(ids, [-1]);
    const rows = withGradient(
      [table],
      ([table]) => ({ value: rowsAt(table!, flat as tf.Tensor1D), saved: [flat] }), // [M, D]
      (dy, _, [ids]) => [scatterRows(dy as tf.Tensor2D, ids as tf.Tensor1D, count)],
    );
    return tf.reshape(rows, [...ids.shape, width]);
  });
}

/**
 * One-hot rows of labels in [0, classes); the label `classes`, "no label", is a row of zeros: int32 `[N]` -> `[N, classes]`. Any
 * other label is an error: `tf.oneHot` would give it zeros too, and the network would take it for none.
 *
 * @throws InvalidArgumentError as {@link embeddingLookup}
 */
export function oneHotOrNone(labels: tf.Tensor1D, classes: number): tf.Tensor2D {
  return tf.tidy(() => {
    const rows = tf.concat([tf.eye(classes), tf.zeros([1, classes])], 0);
    return embeddingLookup(rows, labels) as tf.Tensor2D;
  });
}

function rowsAt(table: tf.Tensor, ids: tf.Tensor1D): tf.Tensor {
  try {
    return tf.gather(table, ids);
  } catch (cause) {
    // All engines say it alike: "GatherV2: the index value 11 is not in [0, 10]".
    const wrong = /the index value (-?\d+) is not in/.exec(cause instanceof Error ? cause.message : '');
    if (wrong === null) throw cause;
    const problem = `expected labels or ids in [0, ${table.shape[0]}), got ${wrong[1]}`;
    throw new InvalidArgumentError('embeddingLookup', problem, { cause });
  }
}

/** Sum of the rows of dy `[M, D]` by id: `[V, D]`. A product with one-hot rows where the engine has no segment sum. */
function scatterRows(dy: tf.Tensor2D, ids: tf.Tensor1D, count: number): tf.Tensor {
  if (tf.getKernel('UnsortedSegmentSum', tf.getBackend()) != null) return tf.unsortedSegmentSum(dy, ids, count);
  return tf.matMul(tf.cast(tf.oneHot(ids, count), 'float32') as tf.Tensor2D, dy, true, false);
}
