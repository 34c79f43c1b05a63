import type { OnnxRuntimeBackend } from '@mezzotint/backend-onnxruntime';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { expectLikeCpu, normals } from './against-cpu.js';

// Tolerances: 1e-5 where at most some hundred float32 numbers are added, 1e-4 for convolutions and their gradients,
// whose sums of up to some thousand terms both engines take in their own order.

describe('elementwise', () => {
  const functions = {
    abs: tf.abs,
    exp: tf.exp,
    expm1: tf.expm1,
    neg: tf.neg,
    relu: tf.relu,
    sigmoid: tf.sigmoid,
    sign: tf.sign,
    sin: tf.sin,
    softplus: tf.softplus,
    square: tf.square,
    tanh: tf.tanh,
    erf: tf.erf,
    round: tf.round,
    elu: tf.elu,
    selu: tf.selu,
  };
  test.each(Object.entries(functions))('%s', (_, f) => {
    expectLikeCpu(() => f(tf.mul(normals([3, 17]), 3)));
  });

  test('functions of positive numbers', () => {
    const x = () => tf.add(tf.square(normals([40])), 0.1);
    expectLikeCpu(() => [
      tf.log(x()),
      tf.sqrt(x()),
      tf.rsqrt(x()),
      tf.log1p(x()),
      tf.reciprocal(x()),
      tf.pow(x(), 1.5),
    ]);
  });

  test.each([
    [
      [4, 1, 3],
      [5, 1],
    ],
    [[], [2, 3]],
    [
      [2, 1, 4, 1],
      [3, 1, 5],
    ],
    [[6], [2, 3, 6]],
  ])('broadcasts %j with %j', (a, b) => {
    expectLikeCpu(() => {
      const [x, y] = [normals(a), normals(b, 2)];
      return [
        tf.add(x, y),
        tf.sub(x, y),
        tf.mul(x, y),
        tf.div(x, y),
        tf.maximum(x, y),
        tf.greater(x, y),
        tf.squaredDifference(x, y),
      ];
    });
  });

  test('int32, bool, casts and selection', () => {
    expectLikeCpu(() => {
      const i = tf.tensor1d([-7, 0, 5, 9], 'int32');
      const j = tf.tensor1d([2, 3, -4, 9], 'int32');
      const less = tf.less(i, j);
      return [
        tf.add(i, j),
        tf.mul(i, j),
        tf.floorDiv(i, j),
        tf.mod(i, j),
        less,
        tf.logicalAnd(less, tf.notEqual(i, j)),
        tf.where(less, i, j),
        tf.cast(tf.tensor1d([-1.7, 0, 1.7]), 'int32'),
        tf.cast(i, 'bool'),
        tf.cast(less, 'float32'),
      ];
    });
  });
});

describe('shapes', () => {
  test('views and copies compose in any order', () => {
    expectLikeCpu(() => {
      const x = normals([2, 3, 4, 6]);
      const turned = tf.transpose(tf.exp(x), [2, 0, 3, 1]);
      const split = tf.reshape(turned, [4, 2, 2, 9]);
      return [
        tf.add(split, tf.ones([9])),
        tf.sum(split, [1, 3]),
        tf.slice(turned, [1, 0, 2, 0], [2, 2, 3, 2]),
        tf.pad(turned, [
          [0, 1],
          [1, 0],
          [0, 0],
          [2, 1],
        ]),
        tf.reverse(turned, [0, 2]),
        tf.tile(turned, [1, 2, 1, 1]),
        tf.concat([turned, tf.neg(turned)], 2),
        tf.stack([turned, turned], 1),
        ...tf.split(turned, 3, 2),
        ...tf.unstack(split, 2),
        tf.stridedSlice(turned, [0, 1, 5, 0], [4, 2, 0, 3], [2, 1, -2, 1]),
        tf.cumsum(turned, 1),
      ];
    });
  });

  test('the sum of all squares, of whatever lies in memory', () => {
    expectLikeCpu(() => {
      const x = normals([3, 4, 5]);
      const square = (t: tf.Tensor) => tf.sum(tf.square(t));
      const broadcast = tf.broadcastTo(normals([1, 4, 1], 2), [3, 4, 5]);
      const scalar = tf.sum(x);
      return [
        square(x),
        square(tf.transpose(x, [2, 0, 1])),
        square(broadcast),
        square(scalar),
        tf.sum(tf.square(x), [0, 1, 2], true),
      ];
    });
  });

  test('long columns, which are reduced in parts', () => {
    for (const rows of [128, 130, 131]) {
      expectLikeCpu(() => {
        const x = normals([rows, 6]);
        return [tf.sum(x, 0), tf.mean(x, 0), tf.max(x, 0), tf.min(tf.transpose(x), 1)];
      });
    }
  });

  test('bounds that are not finite are different bounds', () => {
    for (const [low, high] of [
      [Number.NEGATIVE_INFINITY, 0],
      [0, Number.POSITIVE_INFINITY],
      [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
    ] as const) {
      expectLikeCpu(() => tf.clipByValue(normals([8]), low, high));
    }
  });

  test('reductions over every set of axes', () => {
    for (const axes of [[0], [1], [2], [0, 2], [1, 2], [0, 1, 2]]) {
      expectLikeCpu(() => {
        const x = tf.transpose(normals([3, 4, 5]), [2, 0, 1]);
        return [tf.sum(x, axes), tf.mean(x, axes, true), tf.max(x, axes), tf.min(x, axes, true), tf.prod(x, axes)];
      });
    }
  });

  test('gather, scatter, one-hot, segments', () => {
    expectLikeCpu(() => {
      const x = normals([5, 7]);
      const ids = tf.tensor1d([1, 0, 3, 1, -1], 'int32');
      const { values, indices } = tf.topk(x, 3);
      return [
        tf.gather(x, tf.tensor2d([1, 0, 3, 1], [2, 2], 'int32'), 1),
        tf.unsortedSegmentSum(x, ids, 4),
        tf.oneHot(tf.tensor1d([0, 2, 5], 'int32'), 4),
        tf.scatterND(tf.tensor2d([[1], [2], [1]], [3, 1], 'int32'), tf.ones([3, 4]), [4, 4]),
        values,
        indices,
        tf.argMax(x, 1),
      ];
    });
  });
});

describe('matrix products', () => {
  test.each([
    [[4, 5], [5, 3], false, false],
    [[5, 4], [3, 5], true, true],
    [[2, 3, 4, 5], [2, 3, 5, 6], false, false],
    [[2, 5, 4], [2, 5, 6], true, false],
    [[2, 4, 5], [1, 5, 6], false, false],
  ])('%j x %j, transposed %j %j', (a, b, transposeA, transposeB) => {
    expectLikeCpu(() => tf.matMul(normals(a), normals(b, 2), transposeA, transposeB));
  });

  test('operands that are views', () => {
    expectLikeCpu(() => {
      const q = tf.transpose(tf.reshape(tf.exp(normals([2, 6, 12])), [2, 6, 3, 4]), [0, 2, 1, 3]);
      return tf.matMul(tf.softmax(tf.matMul(q, q, false, true)), q);
    });
  });
});

// [images, height and width, input channels, output channels, filter, stride]: whole blocks of channels, an image's three
// channels in and out, odd channels, widths that are whole blocks, parts of one, and neither.
const convolutions = [
  [2, 8, 16, 32, 3, 1],
  [2, 16, 32, 16, 3, 1],
  [1, 28, 16, 16, 3, 1],
  [4, 7, 16, 16, 3, 1],
  [3, 5, 16, 16, 1, 1],
  [2, 9, 16, 16, 5, 1],
  [2, 8, 3, 16, 3, 1],
  [2, 8, 16, 3, 3, 1],
  [2, 6, 5, 7, 3, 1],
  [2, 8, 16, 16, 3, 2],
  [2, 7, 6, 4, 3, 2],
  // Batches of whole blocks, of 8 and of 16.
  [16, 6, 32, 16, 3, 1],
  [16, 5, 16, 48, 1, 1],
  [16, 5, 48, 16, 5, 1],
] as const;

describe('convolutions', () => {
  test.each(convolutions)(
    '%i images of %i, %i to %i channels, filter %i, stride %i',
    (n, size, inputs, outputs, k, stride) => {
      const x = () => normals([n, size, size, inputs]) as tf.Tensor4D;
      const w = () => normals([k, k, inputs, outputs], 2) as tf.Tensor4D;
      const bias = () => normals([outputs], 3);
      for (const pad of ['same', 'valid'] as const) {
        const layer = (x: tf.Tensor, w: tf.Tensor, b: tf.Tensor) =>
          tf.tanh(tf.mul(tf.add(tf.conv2d(tf.tanh(x) as tf.Tensor4D, w as tf.Tensor4D, stride, pad), b), 0.1));
        expectLikeCpu(() => layer(x(), w(), bias()), 1e-4);
        expectLikeCpu(() => tf.grads((x, w, b) => tf.sum(tf.square(layer(x!, w!, b!))))([x(), w(), bias()]), 1e-4);
      }
    },
  );

  test('a chain stays in blocks: residual, concatenation, pooling, statistics', () => {
    expectLikeCpu(() => {
      const x = normals([2, 8, 8, 32]) as tf.Tensor4D;
      const w = tf.mul(normals([3, 3, 32, 32], 2), 0.05) as tf.Tensor4D;
      const y = tf.add(tf.conv2d(x, w, 1, 'same'), x) as tf.Tensor4D;
      const both = tf.concat([y, tf.relu(y)], 3);
      return [
        both,
        tf.slice(both, [0, 0, 0, 32], [2, 8, 8, 16]),
        tf.mean(y, [1, 2]),
        tf.sum(tf.mul(y, x), [1, 2]),
        tf.avgPool(y, 2, 2, 'valid'),
        tf.maxPool(y, 3, 2, 'same'),
        tf.reshape(y, [2, 64, 32]),
        tf.transpose(y, [3, 0, 1, 2]),
        tf.add(tf.mul(y, normals([2, 1, 1, 32], 4)), normals([2, 1, 1, 32], 5)),
      ];
    }, 1e-4);
  });

  test.each([
    ['blocked', 16],
    ['few outputs', 3],
  ] as const)('zeros around an image are the padding of the convolution that reads it: %s', (_, outputs) => {
    const x = normals([2, 8, 8, 16]) as tf.Tensor4D;
    const first = normals([3, 3, 16, 16], 2) as tf.Tensor4D;
    const filter = normals([3, 3, 16, outputs], 3) as tf.Tensor4D;
    const strided = (image: tf.Tensor4D): tf.Tensor4D => {
      const blocked = tf.conv2d(image, first, 1, 'same');
      const padded = tf.pad(blocked, [
        [0, 0],
        [0, 1],
        [2, 1],
        [0, 0],
      ]);
      return tf.conv2d(padded as tf.Tensor4D, filter, 2, 'valid');
    };
    expectLikeCpu(() => strided(x), 1e-4);
    expectLikeCpu(
      () =>
        tf.grads((image, w) =>
          tf.sum(
            tf.square(
              tf.conv2d(
                tf.pad(image, [
                  [0, 0],
                  [1, 0],
                  [0, 1],
                  [0, 0],
                ]) as tf.Tensor4D,
                w as tf.Tensor4D,
                2,
                'valid',
              ),
            ),
          ),
        )([x, filter]),
      1e-4,
    );
    // Nothing else wants the padded image, so no program makes it; few outputs pad their filter to a block.
    tf.tidy(() => strided(x).dataSync());
    const { graph } = (tf.backend() as OnnxRuntimeBackend).executor.programs.all().at(-1)!.plan;
    const pads = graph.nodes.filter(({ op }) => op === 'Pad').length;
    expect(pads).toBe(outputs === 16 ? 0 : 1);
  });

  test('depthwise and grouped by multiplier', () => {
    expectLikeCpu(() =>
      tf.depthwiseConv2d(normals([2, 6, 6, 5]) as tf.Tensor4D, normals([3, 3, 5, 2], 2) as tf.Tensor4D, 1, 'same'),
    );
  });
});

describe('what the cpu backend runs', () => {
  test('complex numbers, Fourier transforms and strings', () => {
    expectLikeCpu(() => {
      const z = tf.complex(normals([2, 8]), normals([2, 8], 2));
      const f = tf.fft(z);
      return [tf.real(f), tf.imag(tf.ifft(f)), tf.abs(z), tf.real(tf.mul(z, z))];
    }, 1e-4);
  });
});
