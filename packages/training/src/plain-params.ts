import type { Param } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** A copy whose numbers lie in row-major order, as those of a tensor that was just loaded do. */
export async function plainCopy(tensor: tf.Tensor): Promise<tf.Tensor> {
  return tf.tensor((await tensor.data()).slice(), tensor.shape, 'float32');
}

/**
 * Lays parameters out in memory as those that were just loaded are. onnxruntime leaves a weight as its update made it, such as in
 * blocks of channels, and a sum over a weight in another order is rounded otherwise. A network that takes norms of its weights
 * (EDM2) needs this before each training step to resume exactly; for others, and on other engines, nothing depends on it.
 */
export async function layPlain(params: Iterable<Param>): Promise<void> {
  if (tf.getBackend() !== 'onnxruntime') return;
  for (const { variable } of params) {
    const plain = await plainCopy(variable);
    variable.assign(plain);
    plain.dispose();
  }
}
