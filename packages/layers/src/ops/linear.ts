import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Affine map of the last axis: y = x W^T + b. x `[..., in]`, weight `[out, in]` as in PyTorch's files, bias `[out]` or
 * null; gives `[..., out]`.
 *
 * @throws InvalidArgumentError when the widths differ
 */
export function linear<T extends tf.Tensor>(x: T, weight: tf.Tensor, bias: tf.Tensor | null): T {
  const [out, width] = weight.shape as [number, number];
  if (x.shape.at(-1) !== width || weight.rank !== 2) {
    throw new InvalidArgumentError(
      'linear',
      `expected x [..., ${width}] for weight [${weight.shape}], got [${x.shape}]`,
    );
  }
  return tf.tidy(() => {
    const rows = tf.reshape(x, [-1, width]) as tf.Tensor2D;
    // Not tf.fused.matMul: with a transposed weight, wasm adds the wrong bias to all rows but the first.
    const y = tf.matMul(rows, weight as tf.Tensor2D, false, true);
    return tf.reshape(bias === null ? y : tf.add(y, bias), [...x.shape.slice(0, -1), out]) as T;
  });
}
