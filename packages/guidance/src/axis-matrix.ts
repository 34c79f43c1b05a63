import * as tf from '@tensorflow/tfjs-core';

/** A linear map of one axis of a picture: `out` rows of `length` weights, row-major. */
export interface AxisMatrix {
  readonly out: number;
  readonly length: number;
  readonly weights: Float32Array;
}

/** Rows given by a function that adds weights at places which may lie outside, and are reflected back. */
export function axisMatrix(
  out: number,
  length: number,
  row: (index: number, add: (place: number, weight: number) => void) => void,
  outside: (place: number, length: number) => number = reflect,
): AxisMatrix {
  const weights = new Float64Array(out * length);
  for (let i = 0; i < out; i++) {
    row(i, (place, weight) => {
      weights[i * length + outside(place, length)]! += weight;
    });
  }
  return { out, length, weights: Float32Array.from(weights) };
}

/**
 * Applies one matrix to the rows and one to the columns of every picture: `[N, H, W, C] -> [N, H', W', C]`. A separable
 * filter as two products of matrices: any engine has them, and so has their gradient.
 */
export function separable(x: tf.Tensor4D, vertical: AxisMatrix, horizontal: AxisMatrix): tf.Tensor4D {
  return tf.tidy(() => {
    const [n, h, w, c] = x.shape;
    const rows = tf.reshape(tf.transpose(x, [1, 0, 2, 3]), [h, n * w * c]);
    const tall = tf.reshape(tf.matMul(asTensor(vertical), rows), [vertical.out, n, w, c]);
    const columns = tf.reshape(tf.transpose(tall, [2, 1, 0, 3]), [w, n * vertical.out * c]);
    const wide = tf.reshape(tf.matMul(asTensor(horizontal), columns), [horizontal.out, n, vertical.out, c]);
    return tf.transpose(wide, [1, 2, 0, 3]) as tf.Tensor4D;
  });
}

/** The mirror without repeating the edge: -1 -> 1, length -> length - 2. As often as needed. */
function reflect(place: number, length: number): number {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const inside = ((place % period) + period) % period;
  return inside < length ? inside : period - inside;
}

function asTensor({ out, length, weights }: AxisMatrix): tf.Tensor2D {
  return tf.tensor2d(weights, [out, length]);
}
