import * as tf from '@tensorflow/tfjs-core';

/** What a lazy engine offers beside TensorFlow.js's own interface. */
interface LazyBackend {
  stepBoundary?: () => void;
}

/**
 * Ends a step: a lazy engine (backend-onnxruntime) runs what is pending now, so that every step compiles to the same
 * graph and memory stays bounded. Does nothing on other engines.
 */
export function stepBoundary(): void {
  (tf.backend() as LazyBackend).stepBoundary?.();
}
