import { InvalidArgumentError } from '@mezzotint/core';
import { type Bitmap, type ResizeFilter, resize, toFloat } from '@mezzotint/data/pixels';
import { mixed, type NoiseSource } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import type { Settings } from './request.js';
import type { Codec, Inpainting, Stage } from './stage.js';

/** A start picture and its mask at the size of the run. */
export interface StartPicture {
  /** `[1, H, W, C]` in [-1, 1]. */
  readonly image: tf.Tensor4D;
  /** 1 where the picture is made anew, 0 where it stays, `[1, H, W, 1]`; null without a mask. */
  readonly mask: tf.Tensor4D | null;
}

/** Size of a picture in pixels. */
export interface PictureSize {
  readonly height: number;
  readonly width: number;
}

/** How a start picture becomes what the network of a model of pixels takes: as it is. */
export const pixelCodec: Pick<Codec, 'downscale' | 'encode'> = {
  downscale: 1,
  encode: (pictures) => tf.clone(pictures),
};

/** Channels of the pictures that a stage makes. */
export function pictureChannels({ codec, shape }: Stage, settings: Settings): 1 | 3 {
  return codec === null ? (shape(settings)[2] as 1 | 3) : (codec.pictureChannels ?? 3);
}

/** Picture and mask as tensors of a size; the caller disposes them. White of the mask is made anew. */
export function startPicture(
  image: Bitmap,
  mask: Bitmap | undefined,
  size: PictureSize,
  channels: 1 | 3,
): StartPicture {
  return {
    image: pixels(fitted(image, size), channels),
    mask:
      mask === undefined ? null : tf.tidy(() => tf.mul(tf.add(pixels(fitted(mask, size), 1), 1), 0.5) as tf.Tensor4D),
  };
}

/** A picture at a size, `[1, H, W, C]` in [-1, 1]. */
export function pictureAt(
  picture: Bitmap,
  size: PictureSize,
  { filter = 'lanczos', channels = 3 }: { readonly filter?: ResizeFilter; readonly channels?: 1 | 3 } = {},
): tf.Tensor4D {
  return pixels(fitted(picture, size, filter), channels);
}

/** The size of a picture, cut down to multiples of a unit. */
export function sizeInUnits({ height, width }: PictureSize, unit: number): PictureSize {
  return { height: height - (height % unit), width: width - (width % unit) };
}

function fitted(picture: Bitmap, size: PictureSize, filter: ResizeFilter = 'lanczos'): Bitmap {
  return picture.height === size.height && picture.width === size.width ? picture : resize(picture, size, filter);
}

/** Grey repeated, or the luminance of colours (ITU-R 601-2, as Pillow's `L`), `[1, H, W, C]` in [-1, 1]. */
function pixels({ data, height, width, channels }: Bitmap, wanted: 1 | 3): tf.Tensor4D {
  const count = height * width;
  if (channels === wanted) return tf.tensor4d(toFloat(data), [1, height, width, wanted]);
  const bytes =
    wanted === 3
      ? Uint8Array.from({ length: 3 * count }, (_, i) => data[Math.floor(i / 3)]!)
      : Uint8Array.from({ length: count }, (_, i) => luminance(data[3 * i]!, data[3 * i + 1]!, data[3 * i + 2]!));
  return tf.tensor4d(toFloat(bytes), [1, height, width, wanted]);
}

/** Pillow's integer form of 0.299 R + 0.587 G + 0.114 B. */
function luminance(r: number, g: number, b: number): number {
  return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
}

/** `count` copies of a picture, one after the other. */
export function repeated(x: tf.Tensor4D, count: number): tf.Tensor4D {
  return count === 1 ? tf.clone(x) : tf.tile(x, [count, 1, 1, 1]);
}

/**
 * What inpainting needs. Noise: one draw. The mask is sampled at the first of the pixels of each latent pixel, as diffusers
 * does.
 */
export function inpaintingOf(
  codec: Pick<Codec, 'downscale' | 'encode'>,
  { image, mask }: StartPicture,
  count: number,
  noise: NoiseSource,
): Inpainting {
  if (mask === null) throw new InvalidArgumentError('inpainting', 'expected a mask');
  const [, height, width] = image.shape;
  const f = codec.downscale;
  return tf.tidy(() => {
    const hard = tf.cast(tf.greaterEqual(mask, 0.5), 'float32'); //                   [1, H, W, 1]
    const grey = tf.mul<tf.Tensor4D>(image, tf.sub(1, hard));
    const masked = codec.encode(repeated(grey, count), noise); //                     [N, h, w, C]
    const small = tf.stridedSlice(hard, [0, 0, 0, 0], hard.shape, [1, f, f, 1]);
    const one = tf.reshape(small, [1, height / f, width / f, 1]) as tf.Tensor4D; //   [1, h, w, 1]
    return { mask: repeated(one, count), masked } as { mask: tf.Tensor4D; masked: tf.Tensor4D };
  });
}

/** x inside the mask; outside, the picture's latent image with its noise at a level. */
export function outsideMask(
  x: tf.Tensor4D,
  { mask }: Inpainting,
  latents: tf.Tensor4D,
  z: tf.Tensor4D,
  level: { readonly alpha: number; readonly sigma: number },
): tf.Tensor4D {
  return tf.tidy(() => {
    const known = mixed(latents, z, level);
    return tf.add(known, tf.mul(mask, tf.sub(x, known))) as tf.Tensor4D;
  });
}
