import * as tf from '@tensorflow/tfjs-core';

/**
 * Gives, for the tap (u, v) of a convolution's kernel, the pixels that it meets at each place of the output: x at
 * (i stride + u, j stride + v) of the padded image, `[C, N Ho Wo]`. The image is turned once, channels first and its
 * pixels sorted by their remainder by the stride, so that each tap is one plain slice.
 */
export function tapsOf(x: tf.Tensor4D, info: tf.backend_util.Conv2DInfo): (u: number, v: number) => tf.Tensor2D {
  const { batchSize, inChannels, strideHeight, strideWidth, outHeight, outWidth, padInfo } = info;
  const rows = Math.ceil(((outHeight - 1) * strideHeight + info.filterHeight) / strideHeight);
  const columns = Math.ceil(((outWidth - 1) * strideWidth + info.filterWidth) / strideWidth);
  const image = fit(fit(x, 1, padInfo.top, rows * strideHeight), 2, padInfo.left, columns * strideWidth);
  const split = tf.reshape(image, [batchSize, rows, strideHeight, columns, strideWidth, inChannels]);
  const sorted = tf.transpose(split, [2, 4, 5, 0, 1, 3]);
  const phases = tf.reshape(sorted, [strideHeight * strideWidth, inChannels * batchSize, rows, columns]);
  return (u, v) => {
    const phase = (u % strideHeight) * strideWidth + (v % strideWidth);
    const begin = [phase, 0, Math.floor(u / strideHeight), Math.floor(v / strideWidth)];
    const met = tf.slice(phases, begin, [1, inChannels * batchSize, outHeight, outWidth]);
    return tf.reshape(met, [inChannels, batchSize * outHeight * outWidth]);
  };
}

/** One axis with `before` zeros in front, then cut or filled with zeros to `size`. */
function fit(x: tf.Tensor4D, axis: number, before: number, size: number): tf.Tensor4D {
  const after = Math.max(size - before - x.shape[axis]!, 0);
  const sides = x.shape.map((_, i): [number, number] => (i === axis ? [before, after] : [0, 0]));
  const wide = before + after === 0 ? x : tf.pad(x, sides);
  return tf.slice(
    wide,
    [0, 0, 0, 0],
    wide.shape.map((d, i) => (i === axis ? size : d)) as [number, number, number, number],
  );
}
