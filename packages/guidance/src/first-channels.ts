import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Combination } from './two-pass.js';

/**
 * Guides the first `channels` channels only and leaves the others as in the conditional prediction. The published samples of
 * DiT (Peebles and Xie 2022) are guided on 3 of the 4 channels of the latent image: their code does so to reproduce them.
 *
 * @throws InvalidArgumentError when `channels` is no whole number of at least 1, or (when called) more than there are
 */
export function combineFirstChannels(combine: Combination, channels: number): Combination {
  const wrong = (expected: string) =>
    new InvalidArgumentError('combineFirstChannels', `channels: expected ${expected}, got ${channels}`);
  if (!Number.isSafeInteger(channels) || channels < 1) throw wrong('a whole number of at least 1');
  return (c, u, at) =>
    tf.tidy(() => {
      const rest = c.shape[3] - channels;
      if (rest < 0) throw wrong(`at most the ${c.shape[3]} channels of the images`);
      const first = (x: tf.Tensor4D) => tf.slice(x, [0, 0, 0, 0], [-1, -1, -1, channels]);
      const guided = combine(first(c), first(u), at);
      return rest === 0 ? guided : tf.concat([guided, tf.slice(c, [0, 0, 0, channels], [-1, -1, -1, rest])], 3);
    });
}
