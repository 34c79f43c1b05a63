import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { isRecording } from '../kernels.js';

/**
 * Zeros around the image: a number is PyTorch's, the same on all four sides; `same` is TensorFlow's, the size becomes
 * ceil(size / stride) and what is uneven goes to bottom and right; else `[[top, bottom], [left, right]]`.
 */
export type Padding = number | 'same' | readonly [readonly [number, number], readonly [number, number]];

export interface Conv2dOptions {
  readonly stride?: 1 | 2;
  /** 0 when absent. */
  readonly padding?: Padding;
}

/**
 * Cross-correlation: y[n, i, j, o] = sum x[n, i s + u, j s + v, c] w[u, v, c, o] + b[o]. x `[N, H, W, C]`, weight
 * `[kh, kw, C, O]`, bias `[O]` or null.
 *
 * @throws InvalidArgumentError when the channels differ or the padding is not whole
 */
export function conv2d(
  x: tf.Tensor4D,
  weight: tf.Tensor,
  bias: tf.Tensor | null,
  { stride = 1, padding = 0 }: Conv2dOptions = {},
): tf.Tensor4D {
  const filter = weight as tf.Tensor4D;
  if (x.rank !== 4 || weight.rank !== 4 || x.shape[3] !== filter.shape[2]) {
    throw new InvalidArgumentError(
      'conv2d',
      `expected x [N, H, W, C] and weight [kh, kw, C, O] with the same C, got [${x.shape}] and [${weight.shape}]`,
    );
  }
  return tf.tidy(() => {
    const { padded, pad } = pads(x, filter, stride, padding);
    // tf.fused computes the gradients of frozen inputs too, so it is for inference only.
    if (bias !== null && !isRecording()) return tf.fused.conv2d({ x: padded, filter, strides: stride, pad, bias });
    const y = tf.conv2d(padded, filter, stride, pad);
    return bias === null ? y : tf.add(y, bias);
  });
}

/** 'same' and 'valid' are the only paddings whose gradients every engine has; the rest is padded first. */
function pads(x: tf.Tensor4D, filter: tf.Tensor4D, stride: number, padding: Padding) {
  if (padding === 'same') return { padded: x, pad: 'same' } as const;
  const [[top, bottom], [left, right]] =
    typeof padding === 'number'
      ? ([
          [padding, padding],
          [padding, padding],
        ] as const)
      : padding;
  const sides = [top, bottom, left, right];
  if (!sides.every((side) => Number.isInteger(side) && side >= 0)) {
    throw new InvalidArgumentError(
      'conv2d',
      `expected paddings that are whole and at least 0, got ${JSON.stringify(padding)}`,
    );
  }
  if (sides.every((side) => side === 0)) return { padded: x, pad: 'valid' } as const;
  const [height, width] = filter.shape;
  const centred = top === bottom && left === right && 2 * top === height - 1 && 2 * left === width - 1;
  if (stride === 1 && centred) return { padded: x, pad: 'same' } as const;
  const padded = tf.pad(x, [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ]);
  return { padded, pad: 'valid' } as const;
}
