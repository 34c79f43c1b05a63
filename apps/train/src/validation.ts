import { deriveSeed, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { WholeConfig } from './config.js';
import type { Task } from './task.js';
import type { HeldOut } from './training-data.js';

/** Pictures that are scored at one time, and at most. */
const batchSize = 64;
const most = 256;

/** How many are scored next: one is not left alone at the end, as CLIP's loss compares a picture with those beside it. */
const nextOf = (left: number) => (left <= batchSize + 1 ? left : batchSize);

/** The mean loss of pictures that are not trained on, with the same noise at every step. */
export async function validationLoss(
  validate: NonNullable<Task['validate']>,
  heldOut: HeldOut,
  { seed }: Pick<WholeConfig, 'seed'>,
  signal: AbortSignal,
): Promise<{ validationLoss: number }> {
  const rng = new TorchGenerator(deriveSeed(seed, 'validation'));
  const scored = Math.min(heldOut.count, most);
  let sum = 0;
  for (let first = 0, n = 0; first < scored; first += n) {
    signal.throwIfAborted();
    n = nextOf(scored - first);
    const batch = heldOut.batch(first, n);
    const mean = tf.tidy(() => tf.mean(validate(batch, rng)));
    sum += (await mean.data())[0]! * n;
    mean.dispose();
  }
  return { validationLoss: sum / scored };
}
