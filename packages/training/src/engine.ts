import * as tf from '@tensorflow/tfjs-core';

/** True on engines whose tensors are in host memory, where reading one costs a copy at most. */
export function tensorsAreInHostMemory(): boolean {
  switch (tf.getBackend()) {
    case 'cpu':
    case 'wasm':
      return true;
    case 'tensorflow':
      return (tf.backend() as { isUsingGpuDevice?: boolean }).isUsingGpuDevice !== true;
    default:
      return false;
  }
}
