import { readFileSync } from 'node:fs';
import { switchTo, testEngines } from '@mezzotint/backend/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  attention,
  averagePool2x,
  conv2d,
  embeddingLookup,
  gelu,
  groupNorm,
  layerNorm,
  linear,
  resizeBilinear,
  rmsNorm,
  silu,
  upsample2x,
} from '../src/index.js';

interface Host {
  readonly shape: number[];
  readonly data: number[];
}
interface Golden {
  readonly inputs: Host[];
  readonly weights: Host;
  readonly output: Host;
  readonly gradients: Host[];
}

const file = new URL('fixtures/pytorch-ops.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { cases: Record<string, Golden> };

const t4 = (x: tf.Tensor | undefined) => x as tf.Tensor4D;
const ids = [
  [2, 0],
  [2, 1],
];

const OPS: Record<string, (...inputs: tf.Tensor[]) => tf.Tensor> = {
  silu: (x) => silu(x!),
  'gelu tanh': (x) => gelu(x!, 'tanh'),
  'gelu erf': (x) => gelu(x!, 'erf'),
  'gelu quick': (x) => gelu(x!, 'quick'),
  groupNorm: (x, scale, shift) => groupNorm(x!, scale!, shift!, { groups: 3, epsilon: 1e-5 }),
  layerNorm: (x, scale, shift) => layerNorm(x!, scale!, shift!, { epsilon: 1e-6 }),
  rmsNorm: (x, scale) => rmsNorm(x!, scale!, { epsilon: 1e-6 }),
  attention: (q, k, v, mask) => attention(t4(q), t4(k), t4(v), { mask: t4(mask) }),
  linear: (x, w, b) => linear(x!, w!, b!),
  'conv2d padding 1': (x, w, b) => conv2d(t4(x), w!, b!, { padding: 1 }),
  'conv2d stride 2 padding 1': (x, w, b) => conv2d(t4(x), w!, b!, { stride: 2, padding: 1 }),
  'conv2d stride 2 bottom right': (x, w, b) => conv2d(t4(x), w!, b!, { stride: 2, padding: 'same' }),
  upsample2x: (x) => upsample2x(t4(x)),
  averagePool2x: (x) => averagePool2x(t4(x)),
  'resizeBilinear up': (x) => resizeBilinear(t4(x), [7, 5]),
  'resizeBilinear down': (x) => resizeBilinear(t4(x), [3, 4]),
  embeddingLookup: (w) => tf.tidy(() => embeddingLookup(w!, tf.tensor2d(ids, [2, 2], 'int32'))),
};

test('every golden has its op', () => expect(Object.keys(OPS).sort()).toEqual(Object.keys(cases).sort()));

const engines = await testEngines();

describe.each(engines)('%s equals PyTorch', (engine) => {
  beforeAll(() => switchTo(engine));

  // The goldens are float64; float32 sums of at most 50 terms below 10 differ by 1e-5, tfjs's erf by 1e-6.
  const near = (got: tf.Tensor, want: Host) => {
    expect(got.shape).toEqual(want.shape);
    const values = got.dataSync();
    for (const [i, expected] of want.data.entries()) {
      expect(Math.abs(values[i]! - expected)).toBeLessThan(1e-5 + 1e-4 * Math.abs(expected));
    }
  };

  test.each(Object.keys(OPS))('%s, value and gradients', (name) => {
    const { inputs, weights, output, gradients } = cases[name]!;
    const op = OPS[name]!;
    tf.tidy(() => {
      const given = inputs.map(({ shape, data }) => tf.tensor(data, shape));
      near(op(...given), output);
      const factor = tf.tensor(weights.data, weights.shape);
      const got = tf.grads((...at) => tf.sum(tf.mul(op(...at), factor)) as tf.Scalar)(given);
      for (const [i, gradient] of got.entries()) near(gradient, gradients[i]!);
    });
  });
});
