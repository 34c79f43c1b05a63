import { type HostTensor, sizeOf } from './host-tensor.js';

/**
 * How a parameter's file axes become memory axes.
 * `same`: as in the file (linear weights stay `[out, in]`). `conv2d`: OIHW in the file, HWIO in memory.
 * `conv1x1`: a pointwise kernel kept as a matrix `[O, I]` in memory, `[O, I, 1]` in the file (ADM's attention).
 * `conv1x1-2d`: the same with `[O, I, 1, 1]` in the file (Stable Diffusion 1's `proj_in`).
 */
export type ParamLayout = 'same' | 'conv2d' | 'conv1x1' | 'conv1x1-2d';

/** Memory shape -> file shape. */
export function toFileShape(shape: readonly number[], layout: ParamLayout): readonly number[] {
  switch (layout) {
    case 'same':
      return shape;
    case 'conv2d': {
      const [h, w, i, o] = shape as [number, number, number, number];
      return [o, i, h, w];
    }
    case 'conv1x1':
      return [...shape, 1];
    case 'conv1x1-2d':
      return [...shape, 1, 1];
  }
}

/** A file's tensor -> memory values. */
export function fromFile(tensor: HostTensor, layout: ParamLayout): Float32Array {
  const data = Float32Array.from(tensor.data);
  if (layout !== 'conv2d') return data;
  const [o, i, h, w] = tensor.shape as [number, number, number, number];
  return transpose(data, o * i, h * w, o, i);
}

/** Memory values -> the file's order. */
export function toFile(data: Float32Array, shape: readonly number[], layout: ParamLayout): Float32Array {
  const copy = Float32Array.from(data);
  if (layout !== 'conv2d') return copy;
  const [h, w, i, o] = shape as [number, number, number, number];
  const out = new Float32Array(sizeOf(shape));
  for (let p = 0, at = 0; p < h * w; p++)
    for (let c = 0; c < i; c++) for (let k = 0; k < o; k++, at++) out[(k * i + c) * h * w + p] = copy[at]!;
  return out;
}

/** OIHW -> HWIO: rows are (o, i) pairs, columns are pixels. */
function transpose(data: Float32Array, rows: number, pixels: number, o: number, i: number): Float32Array {
  const out = new Float32Array(rows * pixels);
  for (let k = 0, at = 0; k < o; k++)
    for (let c = 0; c < i; c++) for (let p = 0; p < pixels; p++, at++) out[(p * i + c) * o + k] = data[at]!;
  return out;
}
