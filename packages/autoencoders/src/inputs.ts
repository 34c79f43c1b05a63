import { InvalidArgumentError } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';

/** Throws unless x is `[N, H, W, channels]` with sides of at least `least`. */
export function checkImage(who: string, name: string, x: tf.Tensor, channels: number, least = 1): void {
  if (x.rank !== 4 || x.shape[3] !== channels) {
    throw new InvalidArgumentError(who, `${name}: expected [N, H, W, ${channels}], got [${x.shape}]`);
  }
  const [, height, width] = x.shape as [number, number, number, number];
  if (height < least || width < least) {
    throw new InvalidArgumentError(
      who,
      `${name}: expected a height and a width of at least ${least}, got ${height} x ${width}; resize or pad it`,
    );
  }
}
