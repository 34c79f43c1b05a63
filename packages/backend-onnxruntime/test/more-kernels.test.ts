import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { expectLikeCpu, normals } from './against-cpu.js';

// Tolerance 1e-5: sums of at most some hundred float32 products. Sizes are odd, so that windows leave something over.

const image = (seed = 1): tf.Tensor4D => normals([2, 7, 9, 3], seed) as tf.Tensor4D;
const volume = (seed = 1): tf.Tensor5D => normals([2, 5, 6, 7, 2], seed) as tf.Tensor5D;

describe('pooling', () => {
  for (const [window, stride, pad] of [
    [2, 2, 'valid'],
    [3, 2, 'same'],
    [3, 1, 'same'],
    [[2, 3], [3, 1], 'valid'],
  ] as const) {
    test(`windows ${window}, steps ${stride}, ${pad}`, () => {
      const size = window as number | [number, number];
      const steps = stride as number | [number, number];
      const squares = (f: (x: tf.Tensor4D) => tf.Tensor) => (x: tf.Tensor) => tf.square(f(x as tf.Tensor4D));
      expectLikeCpu(() => [
        tf.grad(squares((x) => tf.avgPool(x, size, steps, pad)))(image()),
        tf.grad(squares((x) => tf.maxPool(x, size, steps, pad)))(image()),
      ]);
    });
  }

  test('the first of equal maxima gets the gradient', () => {
    expectLikeCpu(() => tf.grad((x) => tf.maxPool(x as tf.Tensor4D, 2, 2, 'valid'))(tf.ones([1, 4, 4, 2])));
  });

  test('three spatial axes', () => {
    expectLikeCpu(() => [
      tf.avgPool3d(volume(), 2, 2, 'same'),
      tf.maxPool3d(volume(), [2, 3, 2], [1, 2, 2], 'valid'),
      tf.grad((x) => tf.square(tf.avgPool3d(x as tf.Tensor5D, 2, 2, 'same')))(volume()),
      tf.grad((x) => tf.square(tf.maxPool3d(x as tf.Tensor5D, 2, 2, 'valid')))(volume()),
    ]);
  });
});

describe('convolutions of other kinds', () => {
  test.each([
    [1, 'same', 1],
    [2, 'same', 1],
    [2, 'valid', 1],
    [1, 'same', 2],
  ] as const)('depthwise: stride %i, %s, dilation %i', (stride, pad, dilation) => {
    expectLikeCpu(() => {
      const filter = normals([3, 3, 3, 2], 2) as tf.Tensor4D;
      const layer = (x: tf.Tensor, w: tf.Tensor) =>
        tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, pad, 'NHWC', dilation);
      const loss = (x: tf.Tensor, w: tf.Tensor) => tf.sum(tf.square(layer(x, w)));
      // tfjs-core has no gradient for a depthwise convolution with dilations.
      return [layer(image(), filter), ...(dilation === 1 ? tf.grads(loss)([image(), filter]) : [])];
    });
  });

  test.each([
    [1, 'same'],
    [2, 'same'],
    [2, 'valid'],
  ] as const)('three-dimensional: stride %i, %s', (stride, pad) => {
    expectLikeCpu(() => {
      const filter = normals([2, 3, 2, 2, 4], 2) as tf.Tensor5D;
      const layer = (x: tf.Tensor, w: tf.Tensor) => tf.conv3d(x as tf.Tensor5D, w as tf.Tensor5D, stride, pad);
      const loss = (x: tf.Tensor, w: tf.Tensor) => tf.sum(tf.square(layer(x, w)));
      return [layer(volume(), filter), ...tf.grads(loss)([volume(), filter])];
    }, 1e-4);
  });
});

describe('resizing', () => {
  test.each([
    [[4, 5], false],
    [[11, 20], false],
    [[11, 20], true],
    [[1, 1], true],
  ] as const)('gradients to %j, corners aligned %j, as on cpu', (size, corners) => {
    // One square image: the cpu backend's gradients are wrong for more images, and for height other than width.
    const x = () => normals([1, 7, 7, 3]) as tf.Tensor4D;
    expectLikeCpu(() => [
      tf.grad((x) => tf.square(tf.image.resizeBilinear(x as tf.Tensor4D, [...size], corners)))(x()),
      tf.grad((x) => tf.square(tf.image.resizeNearestNeighbor(x as tf.Tensor4D, [...size], corners)))(x()),
    ]);
  });

  // Resizing is linear, so its gradient is its transpose: sum(resize(x) dy) = sum(x grad(dy)) for every x and dy.
  test.each([
    ['bilinear', [4, 5]],
    ['bilinear', [14, 18]],
    ['nearest', [4, 5]],
    ['nearest', [14, 18]],
  ] as const)('%s to %j with half-pixel centres: the gradient is the transpose', (mode, size) => {
    tf.setBackend('onnxruntime');
    tf.tidy(() => {
      const resize = (x: tf.Tensor): tf.Tensor =>
        mode === 'bilinear'
          ? tf.image.resizeBilinear(x as tf.Tensor4D, [...size], false, true)
          : tf.image.resizeNearestNeighbor(x as tf.Tensor4D, [...size], false, true);
      const [x, dy] = [image(), normals([2, ...size, 3], 2)];
      const left = tf.sum(tf.mul(resize(x), dy)).dataSync()[0]!;
      const right = tf.sum(tf.mul(x, tf.grad(resize)(x, dy))).dataSync()[0]!;
      // Sums of 378 to 1,512 products of normals: 1e-3 is some hundred roundings of 6e-8 of their size of about 40.
      expect(Math.abs(left - right)).toBeLessThan(1e-3);
    });
  });
});

test('batch norm, local response norm', () => {
  expectLikeCpu(() => {
    const [mean, offset, scale] = [normals([3], 2), normals([3], 3), normals([3], 4)];
    const variance = tf.add(tf.square(normals([3], 5)), 0.1);
    return [
      tf.batchNorm(image(), mean as tf.Tensor1D, variance as tf.Tensor1D, offset as tf.Tensor1D, scale as tf.Tensor1D),
      tf.batchNorm(image(), mean as tf.Tensor1D, variance as tf.Tensor1D),
      tf.localResponseNormalization(image(), 1, 1, 0.5, 0.75),
    ];
  });
});

test('complex numbers are taken apart and put together', () => {
  expectLikeCpu(() => {
    const z = tf.complex(normals([4, 8]), normals([4, 8], 2));
    return [tf.real(z), tf.imag(z), tf.abs(z), tf.real(tf.fft(z)), tf.abs(tf.complex([0, 3e30], [0, 4e30]))];
  });
});

test('einsum, diagonals, sparse updates', () => {
  expectLikeCpu(() => [
    tf.einsum('bij,bjk->bik', normals([2, 3, 4]), normals([2, 4, 5], 2)),
    tf.einsum('ij->ji', normals([3, 4])),
    tf.diag(normals([2, 3])),
    tf.tensorScatterUpdate(normals([5, 2]), [[1], [3], [1]], normals([3, 2], 2)),
    tf.sparseToDense(
      [
        [0, 1],
        [2, 2],
      ],
      tf.tensor1d([5, 6]),
      [3, 4],
      -1,
    ),
  ]);
});

test('einsum sums letters that only one operand has (the cpu backend gets the shape wrong)', () => {
  tf.setBackend('onnxruntime');
  tf.tidy(() => {
    const [x, y] = [normals([2, 3, 4]), normals([5], 2)];
    const composed = tf.outerProduct(tf.sum(x, [1, 2]) as tf.Tensor1D, y as tf.Tensor1D);
    // 12 additions in another order.
    expect(tf.max(tf.abs(tf.sub(tf.einsum('abc,d->ad', x, y), composed))).dataSync()[0]).toBeLessThan(1e-5);
  });
});

test('an update leaves the tensor that it was made from alone', () => {
  tf.setBackend('onnxruntime');
  tf.tidy(() => {
    const x = tf.tensor1d([1, 2, 3]);
    tf.tensorScatterUpdate(x, [[1]], [9]).dataSync();
    expect([...x.dataSync()]).toEqual([1, 2, 3]);
  });
});

test('int32 quotients and remainders round down, also by negative numbers and by zero', () => {
  expectLikeCpu(() => {
    const [x, y] = [tf.tensor1d([7, -7, 7, -7, 2147483647, 5], 'int32'), tf.tensor1d([2, 2, -2, -2, 3, 0], 'int32')];
    return [tf.floorDiv(x, y), tf.mod(x, y), tf.div(x, y)];
  });
});

test('NaN goes through maxima, and not through the place of one', () => {
  expectLikeCpu(() => {
    const x = tf.tensor2d([1, Number.NaN, 3, 2, 5, 4], [2, 3]);
    return [tf.max(x, 1), tf.min(x, 1), tf.argMax(x, 1), tf.argMin(x, 1), tf.max(x)];
  });
});

test('a copy made by clone shares its numbers and outlives its origin', () => {
  tf.setBackend('onnxruntime');
  const x = tf.tensor1d([1, 2]);
  const before = tf.memory().numDataBuffers;
  const copy = tf.clone(x);
  expect(tf.memory().numDataBuffers).toBe(before);
  tf.dispose(x);
  expect([...copy.dataSync()]).toEqual([1, 2]);
  tf.dispose(copy);
  expect(tf.memory().numDataBuffers).toBe(before - 1);
});

test('an index outside fails at its call when it is known, else at the read, and never wraps round', () => {
  tf.setBackend('onnxruntime');
  tf.tidy(() => {
    const x = normals([4, 3]);
    expect(() => tf.gather(x, tf.tensor1d([0, -1], 'int32'))).toThrow(/index value -1 is not in \[0, 3\]/);
    const pending = tf.sub(tf.tensor1d([0, 1], 'int32'), tf.scalar(2, 'int32'));
    expect(() => tf.gather(x, pending).dataSync()).toThrow(/GatherV2/);
  });
});
