import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { KERNELS, runForward, runGrad } from '../kernels.js';
import { withGradient } from './with-gradient.js';

/** Nearest-neighbour upsampling by 2: `[N, H, W, C]` -> `[N, 2H, 2W, C]`. Its gradient sums 2x2 blocks. */
export function upsample2x(x: tf.Tensor4D): tf.Tensor4D {
  return withGradient(
    [x],
    ([x]) => ({ value: runForward(KERNELS.upsample2x, { x })?.[0] ?? repeat(x as tf.Tensor4D) }),
    (dy) => runGrad(KERNELS.upsample2x, { dy }) ?? [tf.mul(averagePool2x(dy as tf.Tensor4D), 4)],
  ) as tf.Tensor4D;
}

/**
 * Mean of 2x2 blocks: `[N, H, W, C]` -> `[N, H/2, W/2, C]`. Its gradient repeats dy / 4.
 *
 * @throws InvalidArgumentError when H or W is odd
 */
export function averagePool2x(x: tf.Tensor4D): tf.Tensor4D {
  if (x.shape[1] % 2 !== 0 || x.shape[2] % 2 !== 0) {
    throw new InvalidArgumentError('averagePool2x', `expected even height and width, got [${x.shape}]`);
  }
  return withGradient(
    [x],
    ([x]) => ({
      value: runForward(KERNELS.averagePool2x, { x })?.[0] ?? tf.avgPool(x as tf.Tensor4D, 2, 2, 'valid'),
    }),
    (dy) => runGrad(KERNELS.averagePool2x, { dy }) ?? [upsample2x(tf.mul(dy, 0.25) as tf.Tensor4D)],
  ) as tf.Tensor4D;
}

function repeat(x: tf.Tensor4D): tf.Tensor4D {
  return tf.image.resizeNearestNeighbor(x, [2 * x.shape[1], 2 * x.shape[2]]);
}
