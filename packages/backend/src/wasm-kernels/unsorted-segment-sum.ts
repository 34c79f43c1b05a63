import * as tf from '@tensorflow/tfjs-core';
import type { KernelBody } from './kernel.js';

/** Row s of the answer is the sum of the rows of x whose id is s; ids outside [0, numSegments) are left out. */
export const unsortedSegmentSum: KernelBody = ({ x, segmentIds }, attributes) => {
  const { numSegments } = attributes as { numSegments: number };
  const ids = segmentIds!.dataSync();
  const width = x!.size / Math.max(ids.length, 1);
  const rows = x!.dataSync();
  const out = new Float32Array(numSegments * width);
  ids.forEach((id, row) => {
    if (id < 0 || id >= numSegments) return;
    for (let i = 0; i < width; i++) out[id * width + i]! += rows[row * width + i]!;
  });
  return tf.tensor(out, [numSegments, ...x!.shape.slice(segmentIds!.rank)], x!.dtype);
};
