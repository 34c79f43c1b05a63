import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { isRecording } from '../kernels.js';

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
    const a = tf.reshape(x, [-1, width]) as tf.Tensor2D;
    const b = weight as tf.Tensor2D;
    // tf.fused computes the gradients of frozen inputs too, so it is for inference only.
    const y =
      bias !== null && !isRecording()
        ? tf.fused.matMul({ a, b, transposeA: false, transposeB: true, bias })
        : addBias(tf.matMul(a, b, false, true), bias);
    return tf.reshape(y, [...x.shape.slice(0, -1), out]) as T;
  });
}

function addBias(y: tf.Tensor, bias: tf.Tensor | null): tf.Tensor {
  return bias === null ? y : tf.add(y, bias);
}
