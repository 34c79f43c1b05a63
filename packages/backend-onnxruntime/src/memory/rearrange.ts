import { commonAtoms, type Layout, physicalDims, refine, rowMajor, shapeOf } from '../graph/layout.js';

/** Elements of any width, 16-bit floats by their bits. */
export type Elements = Float32Array | Int32Array | Uint8Array | Uint16Array;

/** Copies elements that lie as `from` into `out` as `to`, which must not be stretched, has them; repeats stretched ones. */
export function rearrange(data: Elements, out: Elements, from: Layout, to: Layout): void {
  const atoms = from.axes.map((own, axis) => commonAtoms(own, to.axes[axis]!));
  if (!atoms.every((factors) => factors !== undefined)) {
    // Factors that cut each other: by way of row-major order, which every factorisation fits.
    const shape = shapeOf(from);
    const dense = out.slice();
    rearrange(data, dense, from, rowMajor(shape));
    rearrange(dense, out, rowMajor(shape), to);
    return;
  }
  const target = refine(to, atoms);
  const strides = stridesOf(refine(from, atoms));
  permute(
    data,
    out,
    merged(target.order.map((index, at) => ({ size: physicalDims(target)[at]!, stride: strides[index]! }))),
  );
}

/** An axis of the copy in the order of its target: its length, and its step in the source. */
interface Axis {
  readonly size: number;
  readonly stride: number;
}

/** Steps in memory for each atom in logical order; 0 for stretched ones. */
function stridesOf(layout: Layout): number[] {
  const strides: number[] = layout.axes.flat().map(() => 0);
  const dims = physicalDims(layout);
  let stride = 1;
  for (let i = layout.order.length - 1; i >= 0; i--) {
    strides[layout.order[i]!] = stride;
    stride *= dims[i]!;
  }
  return strides;
}

/** Joins neighbours that the source has side by side too. */
function merged(axes: readonly Axis[]): Axis[] {
  const out: Axis[] = [];
  for (const axis of axes) {
    const last = out.at(-1);
    if (last !== undefined && last.stride === axis.size * axis.stride) {
      out[out.length - 1] = { size: last.size * axis.size, stride: axis.stride };
    } else {
      out.push(axis);
    }
  }
  return out;
}

/** Runs of this length are copied by the memory's own routine. */
const LONG = 64;

/** Writes `out` from its first element to its last. */
function permute(data: Elements, out: Elements, axes: readonly Axis[]): void {
  const inner = axes.at(-1) ?? { size: 1, stride: 1 };
  const outer = axes.slice(0, -1);
  const { size, stride } = inner;
  let at = 0;
  const walk = (axis: number, from: number): void => {
    if (axis < outer.length) {
      const { size: count, stride: step } = outer[axis]!;
      for (let i = 0; i < count; i++) walk(axis + 1, from + i * step);
    } else if (stride === 1 && size >= LONG) {
      out.set(data.subarray(from, from + size), at);
      at += size;
    } else {
      for (let i = 0; i < size; i++) out[at++] = data[from + i * stride]!;
    }
  };
  walk(0, 0);
}
