import * as tf from '@tensorflow/tfjs-core';

/** What the forward half of an op gives: its value, and tensors that the gradient needs beside the inputs. */
export interface Forward {
  readonly value: tf.Tensor;
  readonly saved?: readonly tf.Tensor[];
}

/**
 * An op with its own gradient. `forward` sees the inputs; `gradient` sees dy, the inputs and what forward saved, and
 * gives one gradient for each input. Both run in their own tidy. The gradient is made of recorded ops, so a second
 * derivative exists wherever `gradient` and what it saved are functions of the inputs alone.
 */
export function withGradient(
  inputs: readonly tf.Tensor[],
  forward: (inputs: readonly tf.Tensor[]) => Forward,
  gradient: (dy: tf.Tensor, inputs: readonly tf.Tensor[], saved: readonly tf.Tensor[]) => tf.Tensor[],
): tf.Tensor {
  const count = inputs.length;
  const op = tf.customGrad((...args) => {
    const save = args[count] as unknown as (tensors: tf.Tensor[]) => void;
    const given = args.slice(0, count) as tf.Tensor[];
    const { value, saved = [] } = forward(given);
    save([...given, ...saved]);
    return {
      value,
      gradFunc: (dy, kept) =>
        tf.tidy(() =>
          gradient(dy as tf.Tensor, (kept as tf.Tensor[]).slice(0, count), (kept as tf.Tensor[]).slice(count)),
        ),
    };
  });
  return op(...inputs);
}
