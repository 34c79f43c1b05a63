import { InvalidArgumentError } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';
import type { NamedTensors } from './adapter.js';

/**
 * The input called `name`.
 * @throws InvalidArgumentError naming what is there when it is not
 */
export function input<T extends tf.Tensor>(inputs: NamedTensors, name: string): T {
  const tensor = inputs[name];
  if (tensor === undefined) {
    throw new InvalidArgumentError(
      'golden',
      `expected an input '${name}', got ${Object.keys(inputs).join(', ') || 'none'}`,
    );
  }
  return tensor as T;
}
