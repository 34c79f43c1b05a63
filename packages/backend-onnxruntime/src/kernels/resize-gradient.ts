import type { KernelConfig, ResizeBilinearGradAttrs } from '@tensorflow/tfjs-core';
import type { Value } from '../graph/value.js';
import { kernel, type Tracer } from './kernel.js';
import { matMulValue } from './linear.js';
import { reshapeValue } from './shape.js';

type Size4 = [number, number, number, number];

interface Sampling {
  readonly alignCorners: boolean;
  readonly halfPixelCenters: boolean;
}

interface Resizing extends Sampling {
  readonly nearest: boolean;
}

/** Input elements for one output element, from the first to the last. */
function ratioOf(input: number, output: number, { alignCorners }: Sampling): number {
  return alignCorners && output > 1 ? (input - 1) / (output - 1) : input / output;
}

/** The input element that each output element is a copy of, along one axis. */
export function nearestOf(input: number, output: number, how: Sampling): Int32Array {
  const ratio = ratioOf(input, output, how);
  return Int32Array.from({ length: output }, (_, to) => {
    const at = how.halfPixelCenters ? ratio * (to + 0.5) : ratio * to;
    return Math.max(0, Math.min(input - 1, how.alignCorners ? Math.round(at) : Math.floor(at)));
  });
}

/** `[input, output]`: how much of each output element every input element gives, along one axis. */
export function resizeWeights(input: number, output: number, how: Resizing): Float32Array {
  const weights = new Float32Array(input * output);
  const ratio = ratioOf(input, output, how);
  const last = input - 1;
  if (how.nearest) {
    nearestOf(input, output, how).forEach((from, to) => {
      weights[from * output + to] = 1;
    });
    return weights;
  }
  for (let to = 0; to < output; to++) {
    const add = (from: number, weight: number): void => {
      weights[from * output + to] = weights[from * output + to]! + weight;
    };
    const at = Math.max(0, how.halfPixelCenters ? ratio * (to + 0.5) - 0.5 : ratio * to);
    const low = Math.min(last, Math.floor(at));
    add(low, 1 - (at - low));
    add(Math.min(last, Math.ceil(at)), at - low);
  }
  return weights;
}

/**
 * Resizing is linear in each axis: Y = A X B. So dX = A^T dY B^T, two products with small matrices; right for every
 * batch size and mode, which the cpu backend's loops are not.
 */
function resizeGradient(tracer: Tracer, dy: Value, shape: Size4, how: Resizing): Value {
  const [n, h, w, c] = shape;
  const [, oh, ow] = dy.shape as Size4;
  const matrix = (input: number, output: number): Value =>
    tracer.stored(resizeWeights(input, output, how), [1, input, output]);
  const rows = matMulValue(tracer, matrix(h, oh), reshapeValue(tracer, dy, [n, oh, ow * c]), false, false);
  const columns = matMulValue(tracer, matrix(w, ow), reshapeValue(tracer, rows, [n * h, ow, c]), false, false);
  return reshapeValue(tracer, columns, shape);
}

export const resizeGradientKernels: readonly KernelConfig[] = (['Bilinear', 'NearestNeighbor'] as const).map((mode) =>
  kernel<ResizeBilinearGradAttrs & { halfPixelCenters?: boolean }>(
    `Resize${mode}Grad`,
    (tracer, { input }, { alignCorners, halfPixelCenters = false }) => {
      const [images, dy] = [input('images'), input('dy')];
      if (dy.type !== 'float32') return undefined;
      return resizeGradient(tracer, dy, images.shape as Size4, {
        nearest: mode === 'NearestNeighbor',
        alignCorners,
        halfPixelCenters,
      });
    },
  ),
);
