import type { HostTensor } from './host-tensor.js';

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

/** The axes of the memory shape in the order in which a file's tensor has them, outermost first. */
export function fileOrder(shape: readonly number[], layout: ParamLayout): readonly number[] {
  return layout === 'conv2d' ? [3, 2, 0, 1] : shape.map((_, axis) => axis);
}

/** A file's tensor -> memory values, a copy. */
export function fromFile(tensor: HostTensor, layout: ParamLayout): Float32Array {
  if (layout !== 'conv2d') return new Float32Array(tensor.data);
  const [o, i, h, w] = tensor.shape as [number, number, number, number];
  return toHwio(tensor.data, o, i, h * w);
}

/** Memory values -> the file's order, a copy. */
export function toFile(data: Float32Array, shape: readonly number[], layout: ParamLayout): Float32Array {
  if (layout !== 'conv2d') return new Float32Array(data);
  const [h, w, i, o] = shape as [number, number, number, number];
  return toOihw(data, o, i, h * w);
}

function toHwio(oihw: Float32Array | Int32Array, outs: number, ins: number, pixels: number): Float32Array {
  const hwio = new Float32Array(oihw.length);
  let at = 0;
  for (let o = 0; o < outs; o++) {
    for (let i = 0; i < ins; i++) {
      for (let p = 0; p < pixels; p++) hwio[(p * ins + i) * outs + o] = oihw[at++]!;
    }
  }
  return hwio;
}

function toOihw(hwio: Float32Array, outs: number, ins: number, pixels: number): Float32Array {
  const oihw = new Float32Array(hwio.length);
  let at = 0;
  for (let p = 0; p < pixels; p++) {
    for (let i = 0; i < ins; i++) {
      for (let o = 0; o < outs; o++) oihw[(o * ins + i) * pixels + p] = hwio[at++]!;
    }
  }
  return oihw;
}
