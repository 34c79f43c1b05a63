import { InvalidArgumentError, sizeOf } from '@mezzotint/core';
import { crc32 } from '../zip/crc32.js';

/** An array to be written; its type says the element type. */
export interface NumericArray {
  readonly shape: readonly number[];
  readonly data: Float64Array | Float32Array | Int32Array | Uint8Array;
}

/** The bytes of an `.npy` file (format 1), row-major and little-endian. */
export function encodeNpy({ shape, data }: NumericArray): Uint8Array<ArrayBuffer> {
  if (data.length !== sizeOf(shape)) {
    throw new InvalidArgumentError(
      'encodeNpy',
      `the shape [${shape}] has ${sizeOf(shape)} elements, the data ${data.length}`,
    );
  }
  const descr =
    data instanceof Float64Array
      ? '<f8'
      : data instanceof Float32Array
        ? '<f4'
        : data instanceof Int32Array
          ? '<i4'
          : '|u1';
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const padded = Math.ceil((10 + dict.length + 1) / 64) * 64;
  const out = new Uint8Array(padded + data.byteLength);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  new DataView(out.buffer).setUint16(8, padded - 10, true);
  out.set(new TextEncoder().encode(`${dict.padEnd(padded - 11)}\n`), 10);
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), padded);
  return out;
}

/**
 * The bytes of an `.npz` archive that NumPy reads, stored and not compressed, entries in the order given. Throws an
 * InvalidArgumentError beyond 2 GiB.
 */
export function encodeNpz(arrays: Readonly<Record<string, NumericArray>>): Uint8Array<ArrayBuffer> {
  const bodies: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [name, array] of Object.entries(arrays)) {
    const file = encodeNpy(array);
    const label = new TextEncoder().encode(`${name}.npy`);
    const header = entryHeader(label, file);
    directory.push(centralHeader(header, at), label);
    bodies.push(localHeader(header), label, file);
    at += 30 + label.byteLength + file.byteLength;
    if (at > 2 ** 31)
      throw new InvalidArgumentError('encodeNpz', 'the arrays take more than 2 GiB; write them as several files');
  }
  const size = directory.reduce((n, part) => n + part.byteLength, 0);
  const end = new Uint8Array(22);
  const view = new DataView(end.buffer);
  view.setUint32(0, 0x0605_4b50, true);
  view.setUint16(8, bodies.length / 3, true);
  view.setUint16(10, bodies.length / 3, true);
  view.setUint32(12, size, true);
  view.setUint32(16, at, true);
  return joined([...bodies, ...directory, end]);
}

/** What both headers of an entry share (APPNOTE 4.3.7): 26 bytes from the version needed. 1980-01-01, so that equal arrays give equal bytes. */
function entryHeader(label: Uint8Array, file: Uint8Array): Uint8Array {
  const shared = new Uint8Array(26);
  const view = new DataView(shared.buffer);
  view.setUint16(0, 20, true);
  view.setUint16(8, 0x21, true);
  view.setUint32(10, crc32(file), true);
  view.setUint32(14, file.byteLength, true);
  view.setUint32(18, file.byteLength, true);
  view.setUint16(22, label.byteLength, true);
  return shared;
}

function localHeader(shared: Uint8Array): Uint8Array {
  return joined([Uint8Array.of(0x50, 0x4b, 3, 4), shared]);
}

function centralHeader(shared: Uint8Array, offset: number): Uint8Array {
  const header = new Uint8Array(46);
  header.set([0x50, 0x4b, 1, 2, 20, 0]);
  header.set(shared, 6);
  new DataView(header.buffer).setUint32(42, offset, true);
  return header;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((n, part) => n + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.byteLength;
  }
  return out;
}
