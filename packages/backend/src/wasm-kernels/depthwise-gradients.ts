import * as tf from '@tensorflow/tfjs-core';
import { convInfo, spreadForFlipped } from './conv2d-gradients.js';
import type { KernelBody } from './kernel.js';
import { tapsOf } from './taps.js';

type Shape4 = [number, number, number, number];
type DepthwiseAttributes = {
  readonly strides: [number, number] | number;
  readonly pad: 'same' | 'valid' | number;
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil';
};

/** Gradient of a depthwise convolution by its kernel, [kh, kw, C, M]: each tap sums shifted image times dy. */
export const depthwiseBackpropFilter: KernelBody = ({ x, dy }, attributes) => {
  const { filterShape, ...attrs } = attributes as DepthwiseAttributes & { filterShape: Shape4 };
  const info = convInfo(x!.shape as Shape4, filterShape, { ...attrs, dataFormat: 'NHWC' }, true);
  const [height, width, channels, multiplier] = filterShape;
  const byChannel = tf.transpose(tf.reshape(dy!, [-1, channels, multiplier]), [1, 0, 2]); // [C, places, M]
  const tap = tapsOf(x as tf.Tensor4D, info);
  const sums: tf.Tensor[] = [];
  for (let u = 0; u < height; u++) {
    for (let v = 0; v < width; v++) sums.push(tf.sum(tf.mul(tf.expandDims(tap(u, v), 2), byChannel), 1)); // [C, M]
  }
  return tf.reshape(tf.stack(sums), filterShape);
};

/** Gradient of a depthwise convolution by its input, [N, H, W, C]: dy, spread by the stride, under the flipped kernel. */
export const depthwiseBackpropInput: KernelBody = ({ dy, filter }, attributes) => {
  const { inputShape, ...attrs } = attributes as DepthwiseAttributes & { inputShape: Shape4 };
  const info = convInfo(inputShape, filter!.shape as Shape4, { ...attrs, dataFormat: 'NHWC' }, true);
  const [height, width, channels, multiplier] = filter!.shape as Shape4;
  const flipped = tf.reverse(filter!, [0, 1]);
  const { image, pad } = spreadForFlipped(dy as tf.Tensor4D, info);
  const [n, h, w] = image.shape;
  const split = tf.reshape(tf.pad(image, pad), [
    n,
    h + pad[1][0] + pad[1][1],
    w + pad[2][0] + pad[2][1],
    channels,
    multiplier,
  ]);
  const parts = Array.from({ length: multiplier }, (_, m) => {
    const part = tf.reshape(tf.slice(split, [0, 0, 0, 0, m], [-1, -1, -1, -1, 1]), split.shape.slice(0, 4) as Shape4);
    const kernel = tf.reshape(tf.slice(flipped, [0, 0, 0, m], [-1, -1, -1, 1]), [height, width, channels, 1]);
    return tf.depthwiseConv2d(part as tf.Tensor4D, kernel as tf.Tensor4D, 1, 'valid');
  });
  return tf.addN(parts);
};
