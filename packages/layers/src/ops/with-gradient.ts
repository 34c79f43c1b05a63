import * as tf from '@tensorflow/tfjs-core';
import { isRecording } from '../kernels.js';

/** What the forward half of an op gives: its value, and tensors that the gradient needs beside the inputs. */
export interface Forward {
  readonly value: tf.Tensor;
  readonly saved?: readonly tf.Tensor[];
}

/**
 * An op with its own gradient. `forward` sees the inputs; `gradient` sees dy, the inputs and what forward saved, and
 * gives one gradient for each input. Both run in their own tidy.
 *
 * While a second derivative is recorded, `gradient` must be a function of dy and the inputs alone: an op that saves
 * something gives `recompute`, which makes it again from the inputs by recorded ops.
 */
export function withGradient(
  inputs: readonly tf.Tensor[],
  forward: (inputs: readonly tf.Tensor[]) => Forward,
  gradient: (dy: tf.Tensor, inputs: readonly tf.Tensor[], saved: readonly tf.Tensor[]) => tf.Tensor[],
  recompute?: (inputs: readonly tf.Tensor[]) => readonly tf.Tensor[],
): tf.Tensor {
  const count = inputs.length;
  const op = tf.customGrad((...args) => {
    const save = args[count] as unknown as (tensors: tf.Tensor[]) => void;
    const given = args.slice(0, count) as tf.Tensor[];
    const { value, saved = [] } = forward(given);
    save([...given, ...saved]);
    return {
      value,
      gradFunc: (dy, tensors) =>
        tf.tidy(() => {
          const kept = tensors as tf.Tensor[];
          const again = kept.slice(0, count);
          const known = isRecording() && recompute !== undefined ? recompute(again) : kept.slice(count);
          return gradient(dy as tf.Tensor, again, known);
        }),
    };
  });
  return op(...inputs);
}
