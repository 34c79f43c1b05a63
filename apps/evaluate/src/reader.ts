import type { ClassifierNetwork } from '@mezzotint/core';
import type { ImageSet } from '@mezzotint/data';
import { toFloat } from '@mezzotint/data';
import type { Features } from '@mezzotint/metrics';
import * as tf from '@tensorflow/tfjs-core';

/** What a classifier says of images: features, and the class it reads. */
export interface Reading {
  readonly features: Features;
  /** Class of each image. */
  readonly classes: Int32Array;
}

/** Images as bytes NHWC. */
export type Images = Pick<ImageSet, 'images' | 'count' | 'height' | 'width' | 'channels'>;

/** Reads clean images (time 0) in batches. */
export async function readImages(
  classifier: ClassifierNetwork,
  { images, count, height, width, channels }: Images,
  { batchSize, signal, onImages }: { batchSize: number; signal: AbortSignal; onImages: (done: number) => void },
): Promise<Reading> {
  const size = height * width * channels;
  const classes = new Int32Array(count);
  let data = new Float32Array(0);
  let dim = 0;
  for (let first = 0; first < count; first += batchSize) {
    signal.throwIfAborted();
    const n = Math.min(batchSize, count - first);
    const said = tf.tidy(() => {
      const pixels = toFloat(images.subarray(first * size, (first + n) * size));
      const features = classifier.features(tf.tensor4d(pixels, [n, height, width, channels]), tf.zeros([n]));
      return { features, classes: tf.argMax(classifier.logits(features), 1) };
    });
    dim = said.features.shape[1];
    if (data.length === 0) data = new Float32Array(count * dim);
    data.set(await said.features.data(), first * dim);
    classes.set(await said.classes.data(), first);
    tf.dispose([said.features, said.classes]);
    onImages(first + n);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { features: { data, count, dim }, classes };
}
