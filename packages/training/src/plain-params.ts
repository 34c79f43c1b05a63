import type { Param } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Lays parameters out in memory as those that were just loaded are. onnxruntime leaves a weight as its update made it, such as in
 * blocks of channels, and a sum over a weight in another order is rounded otherwise. A network that takes norms of its weights
 * (EDM2, DoRA) needs this before each training step to resume exactly; for others, and on other engines, nothing depends on it.
 */
export async function layPlain(params: Iterable<Param>): Promise<void> {
  if (tf.getBackend() !== 'onnxruntime') return;
  for (const { variable } of params) {
    const plain = tf.tensor((await variable.data()).slice(), variable.shape, 'float32');
    variable.assign(plain);
    plain.dispose();
  }
}
