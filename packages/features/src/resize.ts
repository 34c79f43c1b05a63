import { throwIf } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * How a reference implementation resizes. Scores move by several per cent with it (G. Parmar et al., "On Aliased Resizing and
 * Surprising Subtleties in GAN Evaluation", 2022), so each feature network names its own.
 */
export interface ResizeMethod {
  /** Triangle, Keys' cubic with a = -1/2 (Pillow, and PyTorch with antialias) or with a = -3/4 (PyTorch without). */
  readonly kernel: 'bilinear' | 'bicubic' | 'bicubic-torch';
  /** Output i sits at (i + 1/2) r - 1/2 of the input, or at i r as in TensorFlow 1. */
  readonly centres: 'half-pixel' | 'corner';
  /** Stretches the kernel when shrinking. */
  readonly antialias: boolean;
}

/** TensorFlow 1's `ResizeBilinear` with align_corners false, in the graph of the published FID network. */
export const tensorflow1Bilinear: ResizeMethod = { kernel: 'bilinear', centres: 'corner', antialias: false };
/** PyTorch's `interpolate(mode='bilinear', align_corners=False)`. */
export const torchBilinear: ResizeMethod = { kernel: 'bilinear', centres: 'half-pixel', antialias: false };
/** PyTorch's `interpolate(mode='bicubic', align_corners=False)`. */
export const torchBicubic: ResizeMethod = { kernel: 'bicubic-torch', centres: 'half-pixel', antialias: false };
/** Pillow's bicubic filter, and PyTorch's with `antialias=True`. */
export const pillowBicubic: ResizeMethod = { kernel: 'bicubic', centres: 'half-pixel', antialias: true };

/** One of the kernels: zero outside of [-support, support]. */
interface Kernel {
  readonly support: number;
  at(x: number): number;
}

/** Cubic convolution. R. Keys, "Cubic convolution interpolation for digital image processing" (1981). */
const cubic = (a: number): Kernel => ({
  support: 2,
  at: (x) => {
    const d = Math.abs(x);
    if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((d - 5) * d + 8) * d * a - 4 * a : 0;
  },
});

const kernels: Readonly<Record<ResizeMethod['kernel'], Kernel>> = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: cubic(-0.5),
  'bicubic-torch': cubic(-0.75),
};

/**
 * The matrix that resamples one axis, row-major `[to, from]`. Without antialias a tap beyond the border reads the border; with
 * it the kernel is cut there and normalised again.
 *
 * @param ratio input samples an output sample; from / to when absent
 */
export function resamplingMatrix(
  from: number,
  to: number,
  { kernel, centres, antialias }: ResizeMethod,
  ratio = from / to,
): Float32Array {
  const { support, at } = kernels[kernel];
  const stretch = antialias ? Math.max(ratio, 1) : 1;
  const reach = support * stretch;
  const matrix = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const centre = centres === 'corner' ? i * ratio : (i + 0.5) * ratio - 0.5;
    const [low, high] = [Math.ceil(centre - reach), Math.floor(centre + reach)];
    const taps: [number, number][] = [];
    for (let x = low; x <= high; x++) {
      if (antialias && (x < 0 || x >= from)) continue;
      taps.push([Math.min(Math.max(x, 0), from - 1), at((x - centre) / stretch)]);
    }
    const sum = antialias ? taps.reduce((total, [, weight]) => total + weight, 0) : 1;
    for (const [x, weight] of taps) matrix[i * from + x]! += weight / sum;
  }
  return matrix;
}

/**
 * Resizes pictures as two matrix products, columns first as Pillow does. `[N, H, W, C]` -> `[N, h, w, C]`.
 *
 * @param bytes rounds to whole numbers in 0..255 after each axis, as Pillow does with 8-bit pictures
 */
export function resizeImages(
  x: tf.Tensor4D,
  [height, width]: readonly [number, number],
  method: ResizeMethod,
  { bytes = false }: { readonly bytes?: boolean } = {},
): tf.Tensor4D {
  const [n, fromHeight, fromWidth, channels] = x.shape;
  const along = (rows: tf.Tensor2D, from: number, to: number): tf.Tensor2D => {
    if (from === to) return rows;
    const matrix = tf.tensor2d(resamplingMatrix(from, to, method), [to, from]);
    const y = tf.matMul<tf.Tensor2D>(rows, matrix, false, true);
    return bytes ? tf.clipByValue(tf.floor(tf.add<tf.Tensor2D>(y, 0.5)), 0, 255) : y;
  };
  const rowsOf = (t: tf.Tensor, length: number) => tf.reshape(t, [-1, length]) as tf.Tensor2D;
  return tf.tidy(() => {
    const planes = tf.transpose(tf.cast(x, 'float32'), [0, 3, 1, 2]); //                 [N, C, H, W]
    const wide = along(rowsOf(planes, fromWidth), fromWidth, width); //       [N C H, w]
    const turned = tf.transpose(tf.reshape(wide, [n * channels, fromHeight, width]), [0, 2, 1]);
    const done = along(rowsOf(turned, fromHeight), fromHeight, height); //    [N C w, h]
    return tf.transpose(tf.reshape(done, [n, channels, width, height]), [0, 3, 2, 1]);
  });
}

/**
 * Resizes the shorter side to `size` as 8-bit pictures and cuts out the middle: torchvision's `Resize` and `CenterCrop`,
 * CLIP's preprocessing. `[N, H, W, C]` -> `[N, size, size, C]`.
 */
export function fillSquare(x: tf.Tensor4D, size: number, method: ResizeMethod): tf.Tensor4D {
  const [, height, width] = x.shape;
  const shorter = Math.min(height, width);
  const scaled = [height, width].map((side) => Math.floor((size * side) / shorter)) as [number, number];
  const [top, left] = scaled.map((side) => Math.floor((side - size) / 2)) as [number, number];
  return tf.tidy(() =>
    tf.slice(resizeImages(x, scaled, method, { bytes: true }), [0, top, left, 0], [-1, size, size, -1]),
  );
}

/**
 * Pictures as three channels: a grey one is repeated.
 *
 * @throws InvalidArgumentError unless they are `[N, H, W, 1 or 3]`
 */
export function asColour(who: string, images: tf.Tensor4D): tf.Tensor4D {
  const fits = images.rank === 4 && (images.shape[3] === 1 || images.shape[3] === 3);
  throwIf(who, fits ? [] : [`images: expected [N, H, W, 1 or 3] of 0..255, got [${images.shape}]`]);
  return images.shape[3] === 1 ? tf.concat([images, images, images], 3) : images;
}

/** (x / 255 - mean) / deviation, by channel. `[N, H, W, 3]` both. */
export function standardize(x: tf.Tensor4D, mean: readonly number[], deviation: readonly number[]): tf.Tensor4D {
  return tf.tidy(() => {
    const [m, d] = [mean, deviation].map((values) => tf.mul(tf.tensor1d([...values]), 255)) as [tf.Tensor, tf.Tensor];
    return tf.div(tf.sub(x, m), d);
  });
}

/** Mean and deviation of ImageNet's red, green and blue in [0, 1], as torchvision publishes them. */
export const imageNet = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] } as const;
