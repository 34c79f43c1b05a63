import { type Bitmap, toBytes } from '@mezzotint/data/pixels';
import * as tf from '@tensorflow/tfjs-core';
import { checkFinite } from './run-stage.js';
import type { Batch, Codec, ImageJob, Stage } from './stage.js';
import { startPicture } from './start.js';

/** A picture, and what it was made from. */
export interface GeneratedImage extends Bitmap {
  readonly job: ImageJob;
}

/** The start picture and mask of a request; null where there is none. */
export interface Originals {
  readonly image: Bitmap | null;
  readonly mask: Bitmap | null;
}

/** The finished pictures of a batch. */
export async function finishedPictures(
  stage: Stage,
  x: tf.Tensor4D,
  batch: Batch,
  { image, mask }: Originals,
  told: (done: number) => void,
): Promise<GeneratedImage[]> {
  const shown = stage.codec === null ? tf.clone(x) : await decoded(stage.codec, x, told);
  try {
    await checkFinite(stage.codec?.parts.join(', ') ?? stage.parts.sample.join(', '), shown);
    const [, height, width, channels] = shown.shape;
    const original =
      image !== null && mask !== null && batch.settings.pasteBack === true
        ? startPicture(image, mask, { height, width }, channels as 1 | 3)
        : null;
    const pasted = original === null ? shown : pastedBack(shown, original.image, original.mask!);
    const bitmaps = await bitmapsOf(pasted);
    tf.dispose(
      [original?.image, original?.mask, ...(pasted === shown ? [] : [pasted])].filter(
        (t) => t !== undefined && t !== null,
      ),
    );
    return bitmaps.map((bitmap, i) => ({ ...bitmap, job: batch.images[i]! }));
  } finally {
    shown.dispose();
  }
}

/** The start picture's own pixels where the mask is black. */
function pastedBack(shown: tf.Tensor4D, original: tf.Tensor4D, mask: tf.Tensor4D): tf.Tensor4D {
  return tf.tidy(() => {
    const anew = tf.cast(tf.greaterEqual(mask, 0.5), 'float32');
    return tf.add(original, tf.mul(anew, tf.sub(shown, original))) as tf.Tensor4D;
  });
}

/** Pictures of latent images, one after the other, which takes the least memory. */
export async function decoded(codec: Codec, latents: tf.Tensor4D, told: (done: number) => void): Promise<tf.Tensor4D> {
  const done: tf.Tensor4D[] = [];
  const [count] = latents.shape;
  try {
    for (let i = 0; i < count; i++) {
      told(i);
      done.push(tf.tidy(() => codec.decode(tf.slice(latents, [i, 0, 0, 0], [1, -1, -1, -1]))));
    }
    told(count);
    return tf.concat(done, 0);
  } finally {
    tf.dispose(done);
  }
}

/** Bytes of pictures `[N, H, W, C]` about [-1, 1]. */
export async function bitmapsOf(x: tf.Tensor4D): Promise<Bitmap[]> {
  const [count, height, width, channels] = x.shape;
  const size = height * width * channels;
  const bytes = toBytes((await x.data()) as Float32Array);
  return Array.from({ length: count }, (_, i) => ({
    data: bytes.slice(i * size, (i + 1) * size),
    height,
    width,
    channels: channels as 1 | 3,
  }));
}
