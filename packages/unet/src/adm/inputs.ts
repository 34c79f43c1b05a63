import { InvalidArgumentError } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';
import { type EncoderConfig, totalDownsampling } from './config.js';

/** What is wrong with images `[N, H, W, channels]` whose sides the levels must divide. */
export function imageProblems(name: string, x: tf.Tensor, channels: number, config: EncoderConfig): string[] {
  if (x.rank !== 4 || x.shape[3] !== channels) {
    return [`${name}: expected [N, H, W, ${channels}], got [${x.shape}]`];
  }
  const factor = totalDownsampling(config);
  const [, height, width] = x.shape as [number, number, number, number];
  if (height % factor === 0 && width % factor === 0) return [];
  return [`${name}: expected a height and a width that ${factor} divides, got ${height} x ${width}; resize or pad it`];
}

/** What is wrong with times `[N]` for images `[N, ...]`. */
export function timeProblems(time: tf.Tensor, x: tf.Tensor): string[] {
  if (time.rank === 1 && time.shape[0] === x.shape[0]) return [];
  return [`time: expected [${x.shape[0]}], one time an image, got [${time.shape}]`];
}

/** Throws when there is a problem. */
export function throwIf(who: string, problems: readonly string[]): void {
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}
