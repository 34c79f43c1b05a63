import { attention, averagePool2x, gelu, groupNorm, layerNorm, rmsNorm, silu, upsample2x } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { expectLikeCpu, normals } from './against-cpu.js';

// The cpu backend runs the decomposed ops of @mezzotint/layers: equal numbers mean that fused and decomposed agree.

/** Value and gradients of an op under a random weighting of its outputs. */
function both(inputs: () => tf.Tensor[], op: (...inputs: tf.Tensor[]) => tf.Tensor) {
  return () => {
    const given = inputs();
    const y = op(...given);
    const weigh = normals(y.shape, 99);
    return [y, ...tf.grads((...xs) => tf.sum(tf.mul(weigh, op(...xs))))(given)];
  };
}

describe('activations', () => {
  test('silu', () => expectLikeCpu(both(() => [normals([5, 33])], silu)));
  test.each(['tanh', 'erf', 'quick'] as const)('gelu %s', (kind) => {
    expectLikeCpu(
      both(
        () => [tf.mul(normals([5, 33]), 2)],
        (x) => gelu(x!, kind),
      ),
    );
  });
});

describe('norms', () => {
  const inputs = (shape: number[]) => () => [
    tf.add(tf.mul(normals(shape), 2), 1),
    normals([shape.at(-1)!], 2),
    normals([shape.at(-1)!], 3),
  ];
  // 32 and 64 channels lie in blocks; 12 do not.
  test.each([
    [[2, 8, 8, 32], 8],
    [[3, 16, 16, 64], 32],
    [[2, 6, 6, 12], 4],
    [[2, 10, 16], 2],
  ])('group norm of %j in %i groups', (shape, groups) => {
    expectLikeCpu(
      both(inputs(shape), (x, g, s) => groupNorm(x!, g!, s!, { groups, epsilon: 1e-5 })),
      2e-5,
    );
  });

  test('group norm with a scale and shift for each image, as ADM has it', () => {
    const shape = [2, 8, 8, 32];
    const given = () => [...inputs(shape)(), normals([2, 1, 1, 32], 5), normals([2, 1, 1, 32], 6)];
    expectLikeCpu(
      both(given, (x, g, s, scale, shift) =>
        silu(tf.add(tf.mul(groupNorm(tf.tanh(x!), g!, s!, { groups: 8, epsilon: 1e-5 }), tf.add(scale!, 1)), shift!)),
      ),
      2e-5,
    );
  });

  test('group norm of a mean far from zero: the variance keeps four digits at mean / deviation = 30', () => {
    // E[x^2] - mean^2 loses (30^2) of float32's 1.7e7, and its row sums add little to that.
    expectLikeCpu(
      () => groupNorm(tf.add(normals([2, 16, 16, 32]), 30), null, null, { groups: 8, epsilon: 1e-5 }),
      1e-3,
    );
  });

  test('layer norm and RMS norm', () => {
    expectLikeCpu(both(inputs([2, 6, 24]), (x, g, s) => layerNorm(x!, g!, s!, { epsilon: 1e-5 })));
    expectLikeCpu(
      both(
        () => inputs([2, 6, 24])().slice(0, 1),
        (x) => layerNorm(x!, null, null, { epsilon: 1e-6 }),
      ),
    );
    expectLikeCpu(
      both(
        () => inputs([2, 6, 24])().slice(0, 2),
        (x, g) => rmsNorm(x!, g!, { epsilon: 1e-5 }),
      ),
    );
  });
});

describe('resampling and attention', () => {
  test('upsample2x and averagePool2x', () => {
    for (const channels of [16, 5]) {
      const x = () => [normals([2, 4, 4, channels])];
      expectLikeCpu(both(x, (x) => upsample2x(x as tf.Tensor4D)));
      expectLikeCpu(both(x, (x) => averagePool2x(x as tf.Tensor4D)));
    }
  });

  test('attention, with masks, and through split heads', () => {
    const [q, k, v] = [() => normals([2, 3, 5, 8]), () => normals([2, 3, 7, 8], 2), () => normals([2, 3, 7, 6], 3)];
    expectLikeCpu(
      both(
        () => [q(), k(), v()],
        (q, k, v) => attention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D),
      ),
    );
    for (const mask of [
      [2, 1, 5, 7],
      [1, 3, 5, 7],
    ]) {
      expectLikeCpu(() =>
        attention(q() as tf.Tensor4D, k() as tf.Tensor4D, v() as tf.Tensor4D, {
          mask: normals(mask, 4) as tf.Tensor4D,
        }),
      );
    }
    // A scale of 0 makes every answer the mean of v; ONNX Runtime's operator takes 0 for "none given".
    expectLikeCpu(() => attention(q() as tf.Tensor4D, k() as tf.Tensor4D, v() as tf.Tensor4D, { scale: 0 }));
    expectLikeCpu(() => {
      const heads = tf
        .split(normals([2, 20, 48]), 3, 2)
        .map((part) => tf.transpose(tf.reshape(part, [2, 20, 2, 8]), [0, 2, 1, 3]));
      const [q, k, v] = heads as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
      return tf.reshape(tf.transpose(attention(q, k, v), [0, 2, 1, 3]), [2, 20, 16]);
    });
  });
});

describe('AdamW', () => {
  const names = ['param', 'gradient', 'mean', 'square'] as const;
  const scalars = { keep: 0.99, gradientScale: 0.5, stepSize: 0.01, rootScale: 3 };
  const attributes = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };

  function expected([p, g, m, v]: number[]): number[] {
    const scaled = g! * scalars.gradientScale;
    const mean = m! + (scaled - m!) * 0.1;
    const square = v! * 0.99 + scaled * scaled * 0.01;
    return [
      p! * scalars.keep - (scalars.stepSize * mean) / (scalars.rootScale * Math.sqrt(square) + 1e-8),
      mean,
      square,
    ];
  }

  test('is the formula, and leaves copies of what it overwrites alone', () => {
    tf.setBackend('onnxruntime');
    const before = tf.memory().numTensors;
    const start = names.map((_, index) => tf.tidy(() => tf.abs(normals([4, 6], index + 1))));
    const inputs = start.map((t) => t.dataSync().slice());
    const copies = start.map((t) => tf.clone(t));
    const numbers = Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, tf.scalar(value)]));
    const given = { ...Object.fromEntries(names.map((name, index) => [name, start[index]!])), ...numbers };
    const made = tf.engine().runKernel('MezzotintAdamW', given, attributes) as unknown as tf.Tensor[];
    const rows = made.map((t) => t.dataSync());
    for (let i = 0; i < 24; i++) {
      const want = expected(inputs.map((input) => input[i]!));
      want.forEach((value, which) => {
        expect(rows[which]![i]!).toBeCloseTo(value, 5);
      });
    }
    copies.forEach((copy, index) => {
      expect(copy.dataSync()).toEqual(inputs[index]);
    });
    tf.dispose([...start, ...copies, ...made, ...Object.values(numbers)]);
    expect(tf.memory().numTensors).toBe(before);
  });
});

test('nothing in, nothing out: empty tensors are decomposed', () => {
  expectLikeCpu(() => {
    const none = tf.zeros([0, 4]);
    const norms = [rmsNorm(none, null, { epsilon: 1e-5 }), layerNorm(none, null, null, { epsilon: 1e-5 })];
    return [silu(none), gelu(none, 'erf'), ...norms];
  });
});
