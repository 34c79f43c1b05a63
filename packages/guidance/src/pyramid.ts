import * as tf from '@tensorflow/tfjs-core';
import { type AxisMatrix, axisMatrix, separable } from './axis-matrix.js';

/** Burt and Adelson's filter. */
const TAPS = [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16] as const;

/**
 * The Laplacian pyramid: what each halving of the size loses, finest first, and last what remains. Burt & Adelson 1983,
 * with the filters of OpenCV and kornia: reflected edges, bilinear halving and doubling.
 *
 * @returns pictures `[N, H, W, C]`, `[N, H/2, W/2, C]`, ...: `levels` of them
 */
export function laplacianPyramid(x: tf.Tensor4D, levels: number): tf.Tensor4D[] {
  return tf.tidy(() => {
    const pyramid: tf.Tensor4D[] = [];
    let rest = x;
    for (let level = 1; level < levels; level++) {
      const smaller = shrink(rest);
      pyramid.push(tf.sub(rest, grow(smaller, rest.shape)));
      rest = smaller;
    }
    return [...pyramid, tf.clone(rest)];
  });
}

/** The picture of a Laplacian pyramid: its exact inverse. */
export function fromPyramid(pyramid: readonly tf.Tensor4D[]): tf.Tensor4D {
  return tf.tidy(() =>
    tf.clone(pyramid.reduceRight((smaller, detail) => tf.add<tf.Tensor4D>(grow(smaller, detail.shape), detail))),
  );
}

function shrink(x: tf.Tensor4D): tf.Tensor4D {
  const [, h, w] = x.shape;
  return separable(x, shrinkMatrix(h), shrinkMatrix(w));
}

function grow(x: tf.Tensor4D, [, h, w]: tf.Tensor4D['shape']): tf.Tensor4D {
  return separable(x, growMatrix(x.shape[1], h), growMatrix(x.shape[2], w));
}

/** Filter, then resize to half (rounded up). */
function shrinkMatrix(length: number): AxisMatrix {
  const out = Math.ceil(length / 2);
  return axisMatrix(out, length, (i, add) => {
    for (const [place, share] of bilinear(i, out, length)) {
      TAPS.forEach((tap, k) => {
        add(place + k - 2, share * tap);
      });
    }
  });
}

/** Resize to `out`, then filter. */
function growMatrix(length: number, out: number): AxisMatrix {
  const filter = axisMatrix(out, out, (i, add) => {
    TAPS.forEach((tap, k) => {
      add(i + k - 2, tap);
    });
  });
  return axisMatrix(out, length, (i, add) => {
    for (let j = 0; j < out; j++) {
      for (const [place, share] of bilinear(j, out, length)) add(place, share * filter.weights[i * out + j]!);
    }
  });
}

/** Where pixel i of `out` lies between pixels of `length`: pixel centres at halves, edges held. */
function bilinear(i: number, out: number, length: number): readonly [place: number, share: number][] {
  const centre = Math.min(Math.max(((i + 0.5) * length) / out - 0.5, 0), length - 1);
  const low = Math.floor(centre);
  return [
    [low, 1 - (centre - low)],
    [Math.min(low + 1, length - 1), centre - low],
  ];
}
