import { InvalidArgumentError } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';

/** Throws unless x is `[N, H, W, channels]` with sides that `factor` divides. */
export function checkImage(who: string, name: string, x: tf.Tensor, channels: number, factor = 1): void {
  if (x.rank !== 4 || x.shape[3] !== channels) {
    throw new InvalidArgumentError(who, `${name}: expected [N, H, W, ${channels}], got [${x.shape}]`);
  }
  const [, height, width] = x.shape as [number, number, number, number];
  if (height % factor !== 0 || width % factor !== 0) {
    throw new InvalidArgumentError(
      who,
      `${name}: expected a height and a width that ${factor} divides, got ${height} x ${width}; resize or pad it`,
    );
  }
}
