import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Cuts images into squares of p x p pixels: `[N, H, W, C]` -> `[N, (H/p) (W/p), p p C]`, patches and the pixels inside each
 * row by row. Dosovitskiy et al. 2021 (ViT), section 3.1.
 *
 * @throws InvalidArgumentError when p does not divide H and W
 */
export function patchify(x: tf.Tensor4D, p: number): tf.Tensor3D {
  const [n, height, width, c] = x.shape;
  if (height % p !== 0 || width % p !== 0) {
    throw new InvalidArgumentError('patchify', `expected a height and a width that ${p} divides, got [${x.shape}]`);
  }
  const [rows, columns] = [height / p, width / p];
  return tf.tidy(() => tf.reshape(swapMiddle(x, [n * rows, p, columns, p * c]), [n, rows * columns, p * p * c]));
}

/**
 * Puts patches together again: `[N, rows columns, p p C]` -> `[N, p rows, p columns, C]`, the inverse of {@link patchify}.
 *
 * @throws InvalidArgumentError when there are not rows x columns patches, or p p does not divide their width
 */
export function unpatchify(x: tf.Tensor3D, p: number, [rows, columns]: readonly [number, number]): tf.Tensor4D {
  const [n, count, width] = x.shape;
  if (count !== rows * columns || width % (p * p) !== 0) {
    throw new InvalidArgumentError(
      'unpatchify',
      `expected ${rows} x ${columns} patches of a multiple of ${p * p} numbers, got [${x.shape}]`,
    );
  }
  const c = width / (p * p);
  return tf.tidy(() => tf.reshape(swapMiddle(x, [n * rows, columns, p, p * c]), [n, rows * p, columns * p, c]));
}

/** In rank 4, since engines are fast there and some stop at 6. */
function swapMiddle(x: tf.Tensor, shape: [number, number, number, number]): tf.Tensor4D {
  return tf.transpose(tf.reshape(x, shape), [0, 2, 1, 3]);
}
