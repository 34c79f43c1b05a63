import { InvalidArgumentError, type RandomStream } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Inverted dropout: y = x m / (1 - rate), m = 1 with probability 1 - rate, drawn from `rng` in row-major order of x.
 * Without `rng`, or at rate 0, y = x. Srivastava et al. 2014.
 *
 * @throws InvalidArgumentError when rate is not in [0, 1)
 */
export function dropout<T extends tf.Tensor>(x: T, rate: number, rng?: RandomStream): T {
  if (!(rate >= 0 && rate < 1)) throw new InvalidArgumentError('dropout', `expected a rate in [0, 1), got ${rate}`);
  if (rng === undefined || rate === 0) return tf.clone(x);
  const keep = 1 / (1 - rate);
  return tf.tidy(
    () =>
      tf.mul(
        x,
        tf.tensor(
          rng.rand(x.size).map((u) => (u < rate ? 0 : keep)),
          x.shape,
        ),
      ) as T,
  );
}
