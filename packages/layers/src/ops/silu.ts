import * as tf from '@tensorflow/tfjs-core';
import { KERNELS, runForward, runGrad } from '../kernels.js';
import { withGradient } from './with-gradient.js';

/** SiLU (swish): y = x sigmoid(x), elementwise, any shape. Hendrycks and Gimpel 2016; Ramachandran et al. 2017. */
export function silu<T extends tf.Tensor>(x: T): T {
  return withGradient(
    [x],
    ([x]) => ({ value: runForward(KERNELS.silu, { x })?.[0] ?? tf.mul(x!, tf.sigmoid(x!)) }),
    (dy, [x]) => runGrad(KERNELS.silu, { x, dy }) ?? [siluGrad(x!, dy)],
  ) as T;
}

/** dx = dy (y + s (1 - y)) with s = sigmoid(x), y = x s. */
function siluGrad(x: tf.Tensor, dy: tf.Tensor): tf.Tensor {
  const s = tf.sigmoid(x);
  const y = tf.mul(x, s);
  return tf.mul(dy, tf.add(y, tf.mul(s, tf.sub(1, y))));
}
