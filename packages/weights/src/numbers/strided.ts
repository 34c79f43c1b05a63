import { sizeOf } from '@mezzotint/core';

/** True when row-major order is the order in memory. Strides count elements. */
export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] === 1) continue;
    if (strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

/** The elements of a view in row-major order, as bytes; `width` bytes each (1, 2, 4 or 8), strides in elements. */
export function gather(
  bytes: Uint8Array<ArrayBuffer>,
  width: number,
  shape: readonly number[],
  strides: readonly number[],
): Uint8Array<ArrayBuffer> {
  const count = sizeOf(shape);
  const out = new Uint8Array(count * width);
  const Elements = width === 1 ? Uint8Array : width === 2 ? Uint16Array : width === 4 ? Uint32Array : Float64Array;
  const from = new Elements(bytes.buffer, 0, bytes.byteLength / width);
  const to = new Elements(out.buffer);
  const inner = shape.at(-1) ?? 1;
  const innerStride = strides.at(-1) ?? 0;
  const index = new Array<number>(shape.length).fill(0);
  for (let at = 0, row = 0; at < count; ) {
    for (let i = 0; i < inner; i++) to[at++] = from[row + i * innerStride]!;
    for (let axis = shape.length - 2; axis >= 0; axis--) {
      row += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      row -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}
