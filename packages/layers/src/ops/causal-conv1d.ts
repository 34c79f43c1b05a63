import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { withGradient } from './with-gradient.js';

/**
 * Causal convolution of each channel with its own taps: y_t = bias + sum over j < K of w_j x_(t - K + 1 + j), zeros before the
 * start. Mamba's. x `[N, L, E]`, weight `[E, 1, K]` as in PyTorch's files, bias `[E]` or null; gives `[N, L, E]`.
 *
 * @throws InvalidArgumentError when the channels differ
 */
export function causalConv1d(x: tf.Tensor3D, weight: tf.Tensor, bias: tf.Tensor | null): tf.Tensor3D {
  const width = x.shape[2];
  if (x.rank !== 3 || weight.rank !== 3 || weight.shape[0] !== width || weight.shape[1] !== 1) {
    throw new InvalidArgumentError(
      'causalConv1d',
      `expected x [N, L, E] and weight [E, 1, K] with the same E, got [${x.shape}] and [${weight.shape}]`,
    );
  }
  const taps = weight.shape[2]!;
  return tf.tidy(() => {
    const convolved = withGradient(
      [x, weight],
      ([x, weight]) => ({ value: tf.addN(delayed(x!, taps).map((x, j) => tf.mul(x, tapsOf(weight!)[j]!))) }),
      (dy, [x, weight]) => {
        // dx_t = sum of w_j dy_(t + K - 1 - j): the same delays, of the reversed sequence.
        const ahead = delayed(tf.reverse(dy, 1), taps);
        const dx = tf.addN(ahead.map((dy, j) => tf.mul(dy, tapsOf(weight!)[j]!)));
        const dTaps = delayed(x!, taps).map((x) => tf.sum(tf.mul(x, dy), [0, 1]));
        return [tf.reverse(dx, 1), tf.reshape(tf.stack(dTaps, 1), weight!.shape)];
      },
    ) as tf.Tensor3D;
    return bias === null ? convolved : tf.add(convolved, bias);
  });
}

/** `[E, 1, K]` -> K tensors `[E]`. */
function tapsOf(weight: tf.Tensor): tf.Tensor[] {
  return tf.unstack(tf.reshape(weight, [weight.shape[0]!, weight.shape[2]!]), 1);
}

/** x later by K - 1, ..., 1, 0 tokens, zeros in front. */
function delayed(x: tf.Tensor, taps: number): tf.Tensor[] {
  const [, length] = x.shape as [number, number];
  const padded = tf.pad(x, [[0, 0], [taps - 1, 0], [0, 0]]); // biome-ignore format: pairs
  return Array.from({ length: taps }, (_, j) => tf.slice(padded, [0, j, 0], [-1, length, -1]));
}
