import * as tf from '@tensorflow/tfjs-core';
import type { KernelBody } from './kernel.js';
import { tapsOf } from './taps.js';

type ConvAttributes = {
  readonly strides: [number, number] | number;
  readonly pad: 'same' | 'valid' | number | tf.backend_util.ExplicitPadding;
  readonly dataFormat: 'NHWC' | 'NCHW';
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil';
};
type Shape4 = [number, number, number, number];

/** Gradient of a convolution by its kernel, [kh, kw, C, O]. */
export const conv2dBackpropFilter: KernelBody = ({ x, dy }, attributes) => {
  const { filterShape, ...attrs } = attributes as ConvAttributes & { filterShape: Shape4 };
  const info = convInfo(x!.shape as Shape4, filterShape, attrs);
  return filterGradient(x as tf.Tensor4D, dy as tf.Tensor4D, info);
};

/** Gradient of a convolution by its input, [N, H, W, C]. */
export const conv2dBackpropInput: KernelBody = ({ dy, filter }, attributes) => {
  const { inputShape, ...attrs } = attributes as ConvAttributes & { inputShape: Shape4 };
  return inputGradient(dy as tf.Tensor4D, filter as tf.Tensor4D, convInfo(inputShape, filter!.shape as Shape4, attrs));
};

export function convInfo(
  input: Shape4,
  filter: Shape4,
  { strides, pad, dataFormat, dimRoundingMode }: ConvAttributes,
  depthwise = false,
): tf.backend_util.Conv2DInfo {
  if (dataFormat === 'NCHW') throw new Error('the wasm engine has no gradient of NCHW convolutions');
  return tf.backend_util.computeConv2DInfo(input, filter, strides, 1, pad, dimRoundingMode, depthwise);
}

/** dW[u, v, c, o] = sum over places p of (the pixel that the tap meets at p)[c] dy[p, o]: one matrix product for each tap. */
function filterGradient(x: tf.Tensor4D, dy: tf.Tensor4D, info: tf.backend_util.Conv2DInfo): tf.Tensor {
  const { filterHeight, filterWidth, inChannels, outChannels } = info;
  const byPlace = tf.reshape(dy, [-1, outChannels]) as tf.Tensor2D;
  const tap = tapsOf(x, info);
  const products: tf.Tensor[] = [];
  for (let u = 0; u < filterHeight; u++) {
    for (let v = 0; v < filterWidth; v++) products.push(tf.matMul(tap(u, v), byPlace));
  }
  return tf.reshape(tf.stack(products), [filterHeight, filterWidth, inChannels, outChannels]);
}

/** dX = the convolution of dy, spread by the stride, with the flipped kernel. */
function inputGradient(dy: tf.Tensor4D, filter: tf.Tensor4D, info: tf.backend_util.Conv2DInfo): tf.Tensor {
  const flipped = tf.transpose(tf.reverse(filter, [0, 1]), [0, 1, 3, 2]) as tf.Tensor4D;
  const { image, pad } = spreadForFlipped(dy, info);
  return tf.conv2d(image, flipped, 1, pad);
}

/** dy with stride - 1 zeros between its pixels, and the padding under which a flipped kernel gives the input's size. */
export function spreadForFlipped(
  dy: tf.Tensor4D,
  info: tf.backend_util.Conv2DInfo,
): { image: tf.Tensor4D; pad: tf.backend_util.ExplicitPadding } {
  const spread = dilate(dy, info.strideHeight, info.strideWidth);
  const rows = sides(spread.shape[1], info.inHeight, info.filterHeight, info.padInfo.top);
  const columns = sides(spread.shape[2], info.inWidth, info.filterWidth, info.padInfo.left);
  const crop = ([before, after]: readonly [number, number], size: number) =>
    size + Math.min(before, 0) + Math.min(after, 0);
  const image = tf.slice(
    spread,
    [0, Math.max(-rows[0], 0), Math.max(-columns[0], 0), 0],
    [-1, crop(rows, spread.shape[1]), crop(columns, spread.shape[2]), -1],
  );
  const grow = ([before, after]: readonly [number, number]): [number, number] => [
    Math.max(before, 0),
    Math.max(after, 0),
  ];
  return { image, pad: [[0, 0], grow(rows), grow(columns), [0, 0]] };
}

/** Zeros before and after (negative: pixels to cut) so that `length` pixels under `taps` taps give `wanted` pixels. */
function sides(length: number, wanted: number, taps: number, paddedBefore: number): [number, number] {
  const before = taps - 1 - paddedBefore;
  return [before, wanted + taps - 1 - before - length];
}

/** `[N, H, W, C]` -> `[N, H sh, W sw, C]` with zeros behind each pixel: zeros after the last axis, read as pixels. */
function dilate(x: tf.Tensor4D, strideHeight: number, strideWidth: number): tf.Tensor4D {
  if (strideHeight === 1 && strideWidth === 1) return x;
  const [n, h, w, c] = x.shape;
  const wide = tf.pad(x, [
    [0, 0],
    [0, 0],
    [0, 0],
    [0, c * (strideWidth - 1)],
  ]);
  const row = w * strideWidth * c;
  const tall = tf.pad(tf.reshape(wide, [n, h, row]), [
    [0, 0],
    [0, 0],
    [0, row * (strideHeight - 1)],
  ]);
  return tf.reshape(tall, [n, h * strideHeight, w * strideWidth, c]);
}
