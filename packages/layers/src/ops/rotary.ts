import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** Cosines, and sines with the sign that each channel wants, of the angles of every token: `[T, d]` or `[N, 1, T, d]`. */
export interface Rotary {
  readonly cos: tf.Tensor;
  readonly sin: tf.Tensor;
}

export interface AxialRotaryOptions {
  /** Channels that turn with each axis, even numbers. */
  readonly axes: readonly number[];
  /** Base of the frequencies; 10000 when absent. */
  readonly theta?: number;
}

/**
 * Angles of rotary position embedding over several axes: channels 2i and 2i + 1 of axis a's share turn by position_a
 * theta^(-2i / axes_a). Su et al. 2021 (RoFormer), eq. 15; FLUX gives 16, 56 and 56 of 128 channels to an index, the row and
 * the column. positions `[T, A]`, or `[N, T, A]` where images of a batch have different ones.
 *
 * @throws InvalidArgumentError when positions have another number of axes, or a share is odd
 */
export function axialRotary(positions: tf.Tensor, { axes, theta = 10_000 }: AxialRotaryOptions): Rotary {
  const width = axes.reduce((sum, axis) => sum + axis, 0);
  if (
    (positions.rank !== 2 && positions.rank !== 3) ||
    positions.shape.at(-1) !== axes.length ||
    axes.some((axis) => axis % 2)
  ) {
    throw new InvalidArgumentError(
      'axialRotary',
      `expected positions [T, ${axes.length}] or [N, T, ${axes.length}] and even shares, got [${positions.shape}] and ${axes.join(', ')}`,
    );
  }
  const frequencies = new Float32Array(axes.length * width);
  const signs = new Float32Array(width).map((_, channel) => (channel % 2 === 0 ? -1 : 1));
  for (let axis = 0, channel = 0; axis < axes.length; axis++) {
    for (let i = 0; i < axes[axis]!; i++, channel++) {
      frequencies[axis * width + channel] = theta ** ((-2 * Math.floor(i / 2)) / axes[axis]!);
    }
  }
  return tf.tidy(() => {
    const rows = tf.reshape(tf.cast(positions, 'float32'), [-1, axes.length]) as tf.Tensor2D;
    const angles = tf.matMul(rows, tf.tensor2d(frequencies, [axes.length, width])); // [N T, d]
    const [n, t] = positions.shape as [number, number];
    const shape = positions.rank === 2 ? [n, width] : [n, 1, t, width];
    return {
      cos: tf.reshape(tf.cos(angles), shape),
      sin: tf.reshape(tf.mul(tf.sin(angles), tf.tensor1d(signs)), shape),
    };
  });
}

/**
 * Turns each pair of channels of queries or keys by its token's angle: (a, b) -> (a cos - b sin, a sin + b cos).
 * x `[N, h, T, d]`.
 */
export function rotate(x: tf.Tensor4D, { cos, sin }: Rotary): tf.Tensor4D {
  return tf.tidy(() => tf.add(tf.mul(x, cos), tf.mul(neighboursSwapped(x), sin)));
}

/** Channels 2i and 2i + 1 in each other's place, in rank 2 since some engines stop at low ranks. */
function neighboursSwapped(x: tf.Tensor4D): tf.Tensor4D {
  const [even, odd] = tf.split(tf.reshape(x, [-1, 2]), 2, 1) as [tf.Tensor2D, tf.Tensor2D];
  return tf.reshape(tf.concat([odd, even], 1), x.shape);
}
