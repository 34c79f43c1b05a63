// TensorFlow.js's gradients, registered for every engine. The build replaces this import by the gradients alone (7 ms
// instead of 300); `@tensorflow/tfjs-core` ships them in files that Node cannot import.
import '@tensorflow/tfjs';
import { getGradient } from '@tensorflow/tfjs-core';

/** True when the gradients are registered, as importing this file does. */
export function hasGradients(): boolean {
  return getGradient('Conv2D') !== undefined;
}
