import { type HostTensor, NumpyRandomState, sizeOf } from '@mezzotint/core';
import { fixtures } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { RIN, rinFromOriginal } from '../../src/index.js';

export { relativeError } from '@mezzotint/testing';

export const { readJson, readTensors } = fixtures(new URL('../fixtures/', import.meta.url));

interface Origin {
  readonly seed: number;
  /** Keys and shapes in the order in which the reference's weights were drawn. */
  readonly variables: ReadonlyArray<readonly [string, readonly number[]]>;
}

/** The golden's weights, drawn again as its origin.json says; tooling/golden/scripts/rin.py checked the rule. */
export function goldenWeights(name: string): Record<string, HostTensor> {
  const { seed, variables } = readJson<Origin>(`${name}/origin.json`);
  const rng = new NumpyRandomState(seed);
  return Object.fromEntries(
    variables.map(([key, shape]) => {
      const n = rng.randn(sizeOf(shape));
      return [key, { shape, data: Float32Array.from(n, scale(key, shape)) }];
    }),
  );
}

function scale(key: string, shape: readonly number[]): (n: number) => number {
  if (key.endsWith('gamma')) return (n) => (key.includes('prev_ln') ? 0.6 : 1) + 0.1 * n;
  if (key.includes('pos_emb')) return (n) => 0.5 * n;
  if (!key.endsWith('kernel')) return (n) => 0.1 * n;
  const summed = key.includes('_output_dense') || shape.length === 4 ? shape.slice(0, -1) : shape.slice(0, 1);
  return (n) => (0.8 * n) / Math.sqrt(sizeOf(summed));
}

/** The golden's model with its weights. */
export async function goldenModel(name: string): Promise<RIN> {
  return new RIN(rinFromOriginal(readJson(`${name}/config.json`))).load(goldenWeights(name));
}

/** A tensor of a fixture; images are NHWC there. */
export function toTensor<T extends tf.Tensor>({ shape, data }: HostTensor): T {
  return tf.tensor(data, [...shape], data instanceof Int32Array ? 'int32' : 'float32') as T;
}
