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

const NO_AXIS: Axis = { size: 1, stride: 0 };

/** Writes `out` from its first element to its last. */
function permute(data: Elements, out: Elements, axes: readonly Axis[]): void {
  const inner = axes.at(-1) ?? NO_AXIS;
  if (inner.stride === 1 && inner.size >= LONG) {
    let at = 0;
    forEachStart(axes.slice(0, -1), (from) => {
      out.set(data.subarray(from, from + inner.size), at);
      at += inner.size;
    });
    return;
  }
  // A loop within a loop within a loop takes two thirds of the time of a call for each run of the innermost axis, which in
  // blocked filters has 8 elements; and bits are moved, so that the loop meets one kind of array for each width.
  const [third, second, first] = [axes.at(-3) ?? NO_AXIS, axes.at(-2) ?? NO_AXIS, inner];
  const [source, target] = [bitsOf(data), bitsOf(out)];
  let at = 0;
  forEachStart(axes.slice(0, -3), (from) => {
    at = permuteThree(source, target, from, at, third, second, first);
  });
}

/** Every place in the source at which an element of these axes starts, in order. */
function forEachStart(axes: readonly Axis[], visit: (from: number) => void, start = 0): void {
  const [axis, ...rest] = axes;
  if (axis === undefined) visit(start);
  else for (let i = 0; i < axis.size; i++) forEachStart(rest, visit, start + i * axis.stride);
}

/** Three axes, the first of which changes fastest; says where in the target it ended. */
function permuteThree(
  source: Bits,
  target: Bits,
  from: number,
  start: number,
  third: Axis,
  second: Axis,
  first: Axis,
): number {
  const { size, stride } = first;
  const { size: rows, stride: rowStride } = second;
  let at = start;
  for (let k = 0; k < third.size; k++) {
    let row = from + k * third.stride;
    for (let j = 0; j < rows; j++, row += rowStride) {
      let read = row;
      for (const end = at + size; at < end; at++, read += stride) target[at] = source[read]!;
    }
  }
  return at;
}

type Bits = Int32Array | Uint16Array | Uint8Array;

/** The elements as integers of their width. */
function bitsOf(data: Elements): Bits {
  return data instanceof Float32Array ? new Int32Array(data.buffer, data.byteOffset, data.length) : data;
}
