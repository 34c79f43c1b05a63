import type { UNet2DConditionInputs } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';

/** What the UNet is given beside image and time; the caller's to dispose. */
export type Condition = Pick<UNet2DConditionInputs, 'context' | 'pooled' | 'timeIds'>;

/** A prompt's condition and that of its negative prompt, `[N, ...]` each. */
export interface PromptPair {
  readonly wanted: Condition;
  readonly unwanted: Condition;
}

/** Prompts, and what is not wanted; null where nothing was said. */
export interface Prompts {
  readonly prompts: readonly string[];
  readonly negative: string | null;
}

/** Size of a picture in pixels. */
export interface PictureSize {
  readonly height: number;
  readonly width: number;
}

/** The first half of the rows is wanted, the second is not. Disposes what it is given. */
export function halves({ context, pooled }: { readonly context: tf.Tensor3D; readonly pooled?: tf.Tensor2D }) {
  const split = <T extends tf.Tensor>(x: T) => tf.split(x, 2, 0) as [T, T];
  const contexts = split(context);
  const pools = pooled === undefined ? undefined : split(pooled);
  tf.dispose([context, ...(pooled ? [pooled] : [])]);
  return ([0, 1] as const).map((i) => ({ context: contexts[i], ...(pools && { pooled: pools[i] }) }));
}
