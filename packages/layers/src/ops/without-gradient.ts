import * as tf from '@tensorflow/tfjs-core';

/**
 * What `body` gives, as a constant: no gradient flows through it, and none of its operations is recorded, so that it costs a
 * forward pass and no more (a stop-gradient behind recorded operations costs their backward pass too).
 */
export function withoutGradient<T extends tf.Tensor>(body: () => T): T {
  return tf.customGrad(() => ({ value: body(), gradFunc: () => [] }))() as T;
}
