import type { Param } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Runs `body` while each parameter's variable holds `tensorFor(path)`, then gives the variables their own tensors back (not
 * copies of them). `tensorFor` makes a tensor that is disposed here.
 */
export async function swapped<T>(
  params: ReadonlyMap<string, Param>,
  tensorFor: (path: string) => tf.Tensor,
  body: () => T | Promise<T>,
): Promise<T> {
  const own = new Map<Param, tf.Tensor>();
  try {
    for (const [path, param] of params) {
      own.set(param, tf.keep(tf.clone(param.variable)));
      const value = tensorFor(path);
      param.variable.assign(value);
      value.dispose();
    }
    return await body();
  } finally {
    for (const [param, tensor] of own) {
      param.variable.assign(tensor);
      tensor.dispose();
    }
  }
}
