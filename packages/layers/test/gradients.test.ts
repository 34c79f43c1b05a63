import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  activate,
  attention,
  averagePool2x,
  conv2d,
  embeddingLookup,
  gelu,
  groupNorm,
  joinHeads,
  layerNorm,
  linear,
  modulate,
  patchify,
  resizeBilinear,
  rmsNorm,
  silu,
  splitHeads,
  unpatchify,
  upsample2x,
} from '../src/index.js';

type Op = (...inputs: tf.Tensor[]) => tf.Tensor;

const t3 = (x: tf.Tensor | undefined) => x as tf.Tensor3D;
const t4 = (x: tf.Tensor | undefined) => x as tf.Tensor4D;
const ids = [2, 0, 2, 1];

/** Every op with the shapes of its differentiable inputs. */
const OPS: Record<string, { shapes: number[][]; op: Op }> = {
  silu: { shapes: [[2, 5]], op: (x) => silu(x!) },
  mish: { shapes: [[2, 5]], op: (x) => activate(x!, 'mish') },
  'gelu tanh': { shapes: [[2, 5]], op: (x) => gelu(x!, 'tanh') },
  'gelu erf': { shapes: [[2, 5]], op: (x) => gelu(x!, 'erf') },
  'gelu quick': { shapes: [[2, 5]], op: (x) => gelu(x!, 'quick') },
  groupNorm: {
    shapes: [[2, 3, 2, 6], [6], [6]],
    op: (x, g, b) => groupNorm(x!, g!, b!, { groups: 2, epsilon: 1e-5 }),
  },
  'groupNorm plain': { shapes: [[2, 5, 6]], op: (x) => groupNorm(x!, null, null, { groups: 3, epsilon: 1e-5 }) },
  'groupNorm shift only': {
    shapes: [[2, 5, 6], [6]],
    op: (x, b) => groupNorm(x!, null, b!, { groups: 3, epsilon: 1e-5 }),
  },
  layerNorm: { shapes: [[2, 3, 5], [5], [5]], op: (x, g, b) => layerNorm(x!, g!, b!, { epsilon: 1e-5 }) },
  'layerNorm plain': { shapes: [[3, 5]], op: (x) => layerNorm(x!, null, null, { epsilon: 1e-5 }) },
  rmsNorm: { shapes: [[2, 3, 5], [5]], op: (x, g) => rmsNorm(x!, g!, { epsilon: 1e-5 }) },
  'rmsNorm plain': { shapes: [[3, 5]], op: (x) => rmsNorm(x!, null, { epsilon: 1e-5 }) },
  attention: {
    shapes: [
      [2, 2, 3, 4],
      [2, 2, 5, 4],
      [2, 2, 5, 3],
    ],
    op: (q, k, v) => attention(t4(q), t4(k), t4(v)),
  },
  'attention with mask': {
    shapes: [
      [2, 2, 3, 4],
      [2, 2, 5, 4],
      [2, 2, 5, 3],
      [1, 2, 3, 5],
    ],
    op: (q, k, v, mask) => attention(t4(q), t4(k), t4(v), { mask: t4(mask), scale: 0.7 }),
  },
  modulate: {
    shapes: [
      [2, 3, 4],
      [2, 1, 4],
      [2, 1, 4],
    ],
    op: (x, shift, scale) => modulate(t3(x), t3(shift), t3(scale)),
  },
  patchify: { shapes: [[2, 4, 6, 3]], op: (x) => patchify(t4(x), 2) },
  unpatchify: { shapes: [[2, 6, 12]], op: (x) => unpatchify(t3(x), 2, [2, 3]) },
  splitHeads: { shapes: [[2, 3, 8]], op: (x) => splitHeads(t3(x), 2) },
  joinHeads: { shapes: [[2, 2, 3, 4]], op: (x) => joinHeads(t4(x)) },
  linear: { shapes: [[2, 3, 4], [5, 4], [5]], op: (x, w, b) => linear(x!, w!, b!) },
  conv2d: {
    shapes: [[2, 4, 5, 2], [3, 3, 2, 3], [3]],
    op: (x, w, b) => conv2d(t4(x), w!, b!, { padding: 1 }),
  },
  'conv2d stride 2': {
    shapes: [[2, 4, 6, 2], [3, 3, 2, 3], [3]],
    op: (x, w, b) => conv2d(t4(x), w!, b!, { stride: 2, padding: 1 }),
  },
  'conv2d stride 2 same': {
    shapes: [
      [2, 4, 6, 2],
      [3, 3, 2, 3],
    ],
    op: (x, w) => conv2d(t4(x), w!, null, { stride: 2, padding: 'same' }),
  },
  'conv2d uneven padding': {
    shapes: [
      [1, 4, 4, 2],
      [3, 3, 2, 1],
    ],
    op: (x, w) =>
      conv2d(t4(x), w!, null, {
        stride: 2,
        padding: [
          [0, 1],
          [2, 0],
        ],
      }),
  },
  'conv2d 1x1': { shapes: [[2, 3, 3, 4], [1, 1, 4, 2], [2]], op: (x, w, b) => conv2d(t4(x), w!, b!) },
  upsample2x: { shapes: [[2, 2, 3, 2]], op: (x) => upsample2x(t4(x)) },
  averagePool2x: { shapes: [[2, 4, 2, 2]], op: (x) => averagePool2x(t4(x)) },
  embeddingLookup: { shapes: [[3, 4]], op: (w) => tf.tidy(() => embeddingLookup(w!, tf.tensor1d(ids, 'int32'))) },
  'resizeBilinear up': { shapes: [[2, 3, 2, 2]], op: (x) => resizeBilinear(t4(x), [7, 5]) },
  'resizeBilinear down': { shapes: [[1, 7, 6, 1]], op: (x) => resizeBilinear(t4(x), [3, 4]) },
};

/** f(x) = sum of op(x) times fixed random weights: every output has its own part in the gradient. */
function loss(op: Op, rng: TorchGenerator, inputs: tf.Tensor[]): (...inputs: tf.Tensor[]) => tf.Scalar {
  const like = op(...inputs);
  const weights = tf.tensor(rng.randn(like.size), like.shape);
  return (...at) => tf.sum(tf.mul(op(...at), weights)) as tf.Scalar;
}

const seeded = (shapes: number[][], seed: number): tf.Tensor[] => {
  const rng = new TorchGenerator(seed);
  return shapes.map((shape) => tf.tensor(rng.randn(shape.reduce((a, b) => a * b, 1)), shape));
};

const engines = await testEngines();

describe('on cpu', () => {
  beforeAll(() => switchTo('cpu'));

  test.each(Object.keys(OPS))('gradient of %s equals central differences', (name) => {
    const { shapes, op } = OPS[name]!;
    tf.tidy(() => {
      const inputs = seeded(shapes, 7);
      const f = loss(op, new TorchGenerator(8), inputs);
      const gradients = tf.grads(f)(inputs);
      // Step 1e-2: rounding makes |f| 6e-8 / step = 1e-4 of error, truncation step^2 / 6 times the third derivative about as much.
      const step = 1e-2;
      for (const [which, gradient] of gradients.entries()) {
        const x = inputs[which]!;
        const values = x.dataSync();
        const exact = gradient.dataSync();
        expect(gradient.shape).toEqual(x.shape);
        for (let i = 0; i < values.length; i++) {
          const moved = (by: number) => {
            const changed = Float32Array.from(values);
            changed[i]! += by;
            const at = inputs.map((input, j) => (j === which ? tf.tensor(changed, x.shape) : input));
            return f(...at).dataSync()[0]!;
          };
          const numeric = (moved(step) - moved(-step)) / (2 * step);
          expect(Math.abs(numeric - exact[i]!)).toBeLessThan(2e-3 * Math.max(1, Math.abs(numeric)));
        }
      }
    });
  });
});

/** Value and gradients as plain numbers. */
function numbers(name: string): Float32Array[] {
  const { shapes, op } = OPS[name]!;
  return tf.tidy(() => {
    const inputs = seeded(shapes, 7);
    const f = loss(op, new TorchGenerator(8), inputs);
    return [op(...inputs), ...tf.grads(f)(inputs)].map((t) => t.dataSync() as Float32Array);
  });
}

describe.each(engines.filter((engine) => engine !== 'cpu'))('%s agrees with cpu', (engine) => {
  test.each(Object.keys(OPS))('%s, value and gradients', async (name) => {
    await switchTo('cpu');
    const expected = numbers(name);
    await switchTo(engine);
    const got = numbers(name);
    // Sums of at most 60 terms of size 1 in float32 differ by a few 1e-6 when the order differs.
    for (const [i, values] of got.entries()) {
      for (const [j, value] of values.entries()) {
        const want = expected[i]![j]!;
        expect(Math.abs(value - want)).toBeLessThan(1e-5 * Math.max(1, Math.abs(want)));
      }
    }
  });
});

describe.each(engines)('%s', (engine) => {
  beforeAll(() => switchTo(engine));

  test.each(Object.keys(OPS))('%s leaks nothing, forward and gradient', (name) => {
    const { shapes, op } = OPS[name]!;
    const inputs = seeded(shapes, 7);
    const before = tf.memory().numTensors;
    op(...inputs).dispose();
    expect(tf.memory().numTensors).toBe(before);
    const gradients = tf.grads((...at) => tf.sum(tf.square(op(...at))))(inputs);
    tf.dispose(gradients);
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose(inputs);
  });
});
