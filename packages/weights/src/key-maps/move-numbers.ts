import { type HostTensor, InvalidArgumentError, sizeOf } from '@mezzotint/core';

type Data = HostTensor['data'];

/** Parts of a tensor along axis 0, in proportion to `shares`. Shape `[R, …]` -> `[R share / sum, …]` each. */
export function partShapes(shape: readonly number[], shares: readonly number[]): (readonly number[])[] | undefined {
  const [rows, ...rest] = shape;
  const sum = shares.reduce((a, b) => a + b, 0);
  if (rows === undefined || rows % sum !== 0) return undefined;
  return shares.map((share) => [(rows / sum) * share, ...rest]);
}

/** Part `index` of a tensor that `partShapes` divides. */
export function takePart({ shape, data }: HostTensor, shares: readonly number[], index: number): HostTensor {
  const shapes = partShapes(shape, shares)!;
  const start = shapes.slice(0, index).reduce((n, part) => n + sizeOf(part), 0);
  const part = shapes[index]!;
  return { shape: part, data: data.slice(start, start + sizeOf(part)) };
}

/** Tensors stacked along axis 0. */
export function stack(parts: readonly HostTensor[]): HostTensor {
  const [first] = parts as readonly [HostTensor, ...HostTensor[]];
  const rows = parts.reduce((n, { shape }) => n + (shape[0] ?? 0), 0);
  const shape = [rows, ...first.shape.slice(1)];
  const data = like(first.data, sizeOf(shape));
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  return { shape, data };
}

/** A matrix with rows and columns exchanged. */
export function transposed({ shape, data }: HostTensor): HostTensor {
  const [rows, columns] = shape as [number, number];
  const out = like(data, data.length);
  for (let r = 0, at = 0; r < rows; r++) for (let c = 0; c < columns; c++, at++) out[c * rows + r] = data[at]!;
  return { shape: [columns, rows], data: out };
}

/** The two halves along axis 0 in the other order. */
export function halvesSwapped({ shape, data }: HostTensor): HostTensor {
  const half = data.length / 2;
  const out = like(data, data.length);
  out.set(data.subarray(half), 0);
  out.set(data.subarray(0, half), half);
  return { shape, data: out };
}

/** The one tensor that copies hold; throws an InvalidArgumentError when they differ. */
export function agreed(copies: readonly HostTensor[], names: readonly string[]): HostTensor {
  const [first] = copies as readonly [HostTensor, ...HostTensor[]];
  for (let i = 1; i < copies.length; i++) {
    if (!copies[i]!.data.every((value, k) => Object.is(value, first.data[k]))) {
      throw new InvalidArgumentError(
        'translate',
        `${names[i]} must be a copy of ${names[0]}, but holds other numbers; to keep both, see the key map's options (DiT: embedders 'per-block')`,
      );
    }
  }
  return first;
}

function like(data: Data, length: number): Data {
  return data instanceof Int32Array ? new Int32Array(length) : new Float32Array(length);
}
