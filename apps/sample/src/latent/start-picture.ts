import { InvalidArgumentError } from '@mezzotint/core';
import { type Bitmap, readImage, resize, toFloat } from '@mezzotint/data';
import * as tf from '@tensorflow/tfjs-core';
import type { PictureSize } from './condition.js';
import type { StartPicture } from './start.js';

/** The picture and mask files of a run, at its size; the caller disposes image and mask. White of the mask is made anew. */
export async function readStartPicture(
  image: string,
  mask: string | null,
  strength: number,
  size: PictureSize,
): Promise<StartPicture> {
  const picture = fitted(await readImage(image), size);
  const cut = mask === null ? undefined : fitted(await readImage(mask), size);
  return tf.tidy(() => ({
    image: tf.tensor4d(toFloat(picture.channels === 3 ? picture.data : rgb(picture)), [1, size.height, size.width, 3]),
    strength,
    ...(cut && { mask: tf.mul(tf.add(grey(cut), 1), 0.5) as tf.Tensor4D }),
  })) as StartPicture;
}

/** The size of a picture file, cut down to multiples of `factor`. */
export async function sizeOf(image: string, factor: number): Promise<PictureSize> {
  const { height, width } = await readImage(image);
  const size = { height: height - (height % factor), width: width - (width % factor) };
  if (size.height === 0 || size.width === 0) {
    throw new InvalidArgumentError(
      image,
      `is smaller than ${factor} x ${factor} pixels, the least that the model takes`,
    );
  }
  return size;
}

function fitted(picture: Bitmap, size: PictureSize): Bitmap {
  return picture.height === size.height && picture.width === size.width ? picture : resize(picture, size, 'lanczos');
}

/** Grey bytes three times each. */
function rgb({ data }: Bitmap): Uint8Array {
  return Uint8Array.from({ length: 3 * data.length }, (_, i) => data[Math.floor(i / 3)]!);
}

/** The mean of the channels in [-1, 1], `[1, H, W, 1]`. */
function grey({ data, height, width, channels }: Bitmap): tf.Tensor4D {
  return tf.mean(tf.tensor4d(toFloat(data), [1, height, width, channels]), 3, true);
}
