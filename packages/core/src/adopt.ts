import * as tf from '@tensorflow/tfjs-core';
import type { BlockType, HalfType } from './host-tensor.js';

/** Elements for an engine to keep: what they are, and the axes of `shape` in the order of memory, outermost first. */
export type Adoption = { readonly shape: readonly number[]; readonly order: readonly number[] } & (
  | { readonly data: Float32Array | Uint16Array; readonly dtype: 'float32' | HalfType }
  | { readonly data: Uint8Array; readonly scales: Uint16Array; readonly dtype: BlockType }
);

/** What an engine that computes on the host offers beside TensorFlow.js's own interface. */
interface AdoptingBackend {
  adopt?: (given: Adoption) => tf.TensorInfo;
}

/** Whether the current engine keeps arrays that it is given. */
export function canAdopt(): boolean {
  return (tf.backend() as AdoptingBackend).adopt !== undefined;
}

/**
 * A float32 tensor of an array that the caller gives up, without a copy, where the engine computes on arrays of the host
 * (backend-onnxruntime) and takes them in any order of axes and in 16 bits; undefined on other engines.
 */
export function adopt(given: Adoption): tf.Tensor | undefined {
  const info = (tf.backend() as AdoptingBackend).adopt?.(given);
  return info === undefined ? undefined : tf.engine().makeTensorFromTensorInfo(info);
}
