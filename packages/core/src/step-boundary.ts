import * as tf from '@tensorflow/tfjs-core';
import type { Module } from './module.js';

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

/** Parameters of a block from which on it is worth a program of its own: compiled in milliseconds, run in many. */
const LARGE_BLOCK = 2 ** 22;

/**
 * Ends a block of a network of many like ones: a lazy engine runs it now, so that it compiles one program for the blocks that are
 * alike instead of one for the whole network, and needs no more memory than a block does. Does nothing for small blocks,
 * while gradients are recorded, and on other engines.
 *
 * @returns true when it was run: what the block was given may be disposed then
 */
export function blockBoundary(block: Pick<Module, 'params'>): boolean {
  if ((tf.backend() as LazyBackend).stepBoundary === undefined || tf.engine().state.gradientDepth > 0) return false;
  if (sizeOfBlock(block) < LARGE_BLOCK) return false;
  stepBoundary();
  return true;
}

const sizes = new WeakMap<object, number>();

function sizeOfBlock(block: Pick<Module, 'params'>): number {
  let size = sizes.get(block);
  if (size === undefined) {
    size = 0;
    for (const param of block.params().values()) size += param.size;
    sizes.set(block, size);
  }
  return size;
}
