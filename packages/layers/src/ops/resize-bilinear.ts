import * as tf from '@tensorflow/tfjs-core';
import { withGradient } from './with-gradient.js';

/**
 * Bilinear resizing with half-pixel centres and no antialiasing, PyTorch's
 * `interpolate(mode='bilinear', align_corners=False)`: `[N, H, W, C]` -> `[N, h, w, C]`.
 */
export function resizeBilinear(x: tf.Tensor4D, [height, width]: readonly [number, number]): tf.Tensor4D {
  const [, fromHeight, fromWidth] = x.shape;
  return withGradient(
    [x],
    ([x]) => ({ value: tf.image.resizeBilinear(x as tf.Tensor4D, [height, width], false, true) }),
    (dy) => [spreadBack(spreadBack(dy, 1, fromHeight), 2, fromWidth)],
  ) as tf.Tensor4D;
}

/** Multiplies one axis by the transposed interpolation matrix. (TensorFlow.js's own gradient ignores half-pixel centres.) */
function spreadBack(dy: tf.Tensor, axis: number, size: number): tf.Tensor {
  const from = dy.shape[axis]!;
  if (from === size) return dy;
  const order = [axis, ...[0, 1, 2, 3].filter((a) => a !== axis)];
  const turned = tf.transpose(dy, order); // [from, ...]
  const matrix = tf.tensor2d(interpolation(size, from), [from, size]);
  const summed = tf.matMul(matrix, tf.reshape(turned, [from, -1]) as tf.Tensor2D, true, false); // [size, ...]
  const back = [0, 1, 2, 3].map((a) => order.indexOf(a));
  return tf.transpose(tf.reshape(summed, [size, ...turned.shape.slice(1)]), back);
}

/** Rows: outputs, columns: inputs. Output i looks at (i + 1/2) size / outputs - 1/2, clamped to the image. */
function interpolation(size: number, outputs: number): Float32Array {
  const matrix = new Float32Array(outputs * size);
  for (let i = 0; i < outputs; i++) {
    const at = Math.min(Math.max(((i + 0.5) * size) / outputs - 0.5, 0), size - 1);
    const low = Math.floor(at);
    const high = Math.min(low + 1, size - 1);
    matrix[i * size + low]! += 1 - (at - low);
    matrix[i * size + high]! += at - low;
  }
  return matrix;
}
