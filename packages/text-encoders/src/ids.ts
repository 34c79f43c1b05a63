import type * as tf from '@tensorflow/tfjs-core';
import { throwIf } from './checks.js';

/** Throws an InvalidArgumentError unless ids are int32 `[N, T]` with T in 1..longest. */
export function checkIds(who: string, ids: tf.Tensor, longest = Number.POSITIVE_INFINITY): void {
  const expected = longest === Number.POSITIVE_INFINITY ? 'T at least 1' : `T in 1..${longest}`;
  const length = ids.shape[1] ?? 0;
  const fits = ids.rank === 2 && ids.dtype === 'int32' && length >= 1 && length <= longest;
  throwIf(who, fits ? [] : [`ids: expected int32 [N, T], ${expected}, got ${ids.dtype} [${ids.shape}]`]);
}
