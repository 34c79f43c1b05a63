import type { HostTensor } from '@mezzotint/core';
import { fixtures, rinWeights } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { RIN, rinFromOriginal } from '../../src/index.js';

export { relativeError } from '@mezzotint/testing';

export const { readJson, readTensors } = fixtures(new URL('../fixtures/', import.meta.url));

/** The golden's weights, drawn again. */
export function goldenWeights(name: string): Record<string, HostTensor> {
  return rinWeights(readJson(`${name}/origin.json`));
}

/** The golden's model with its weights. */
export async function goldenModel(name: string): Promise<RIN> {
  return new RIN(rinFromOriginal(readJson(`${name}/config.json`))).load(goldenWeights(name));
}

/** A tensor of a fixture; images are NHWC there. */
export function toTensor<T extends tf.Tensor>({ shape, data }: HostTensor): T {
  return tf.tensor(data, [...shape], data instanceof Int32Array ? 'int32' : 'float32') as T;
}
