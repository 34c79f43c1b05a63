import { deriveSeed, TorchGenerator } from '@mezzotint/core';
import { type ImageSet, toFloat } from '@mezzotint/data';
import * as tf from '@tensorflow/tfjs-core';
import type { WholeConfig } from './config.js';
import type { Task } from './task.js';

/** Pictures that are scored at one time, and at most. */
const batchSize = 64;
const most = 256;

/** The mean loss of pictures that are not trained on, with the same noise at every step. */
export async function validationLoss(
  validate: NonNullable<Task['validate']>,
  { images, labels, count, height, width, channels }: ImageSet,
  { seed }: Pick<WholeConfig, 'seed'>,
  signal: AbortSignal,
): Promise<{ validationLoss: number }> {
  const rng = new TorchGenerator(deriveSeed(seed, 'validation'));
  const area = height * width * channels;
  const scored = Math.min(count, most);
  let sum = 0;
  for (let first = 0; first < scored; first += batchSize) {
    signal.throwIfAborted();
    const n = Math.min(batchSize, scored - first);
    const batch = {
      images: toFloat(images.subarray(first * area, (first + n) * area)),
      labels: labels.slice(first, first + n),
      shape: [n, height, width, channels] as const,
    };
    const mean = tf.tidy(() => tf.mean(validate(batch, rng)));
    sum += (await mean.data())[0]! * n;
    mean.dispose();
  }
  return { validationLoss: sum / scored };
}
