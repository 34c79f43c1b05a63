import { type HostTensor, InvalidFileError, quoted } from '@mezzotint/core';
import type { ByteSource } from '../bytes/byte-source.js';
import { BYTES_PER_ELEMENT, type DType } from '../numbers/dtypes.js';
import { toFloat64 } from '../numbers/float64.js';
import { gather } from '../numbers/strided.js';
import { swapByteOrder, widen } from '../numbers/widen.js';
import type { WeightFile } from '../weight-file.js';
import { openZip } from '../zip/archive.js';
import { NPY_HEAD_BYTES, type NpyHeader, parseNpyHeader } from './npy-header.js';

/** An array in double precision, row-major. */
export interface Float64Tensor {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** An open `.npy` or `.npz` file. */
export interface NumpyFile extends WeightFile {
  /** Reads one array without rounding: the statistics of a Fréchet distance need double precision. */
  readFloat64(name: string): Promise<Float64Tensor>;
}

interface ArrayPlace {
  readonly header: NpyHeader;
  /** The bytes of the whole `.npy` file. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * Opens an `.npz` archive (stored or compressed): its arrays by name, without `.npy`. Throws an InvalidFileError when it
 * is damaged, or holds an array of objects, records or text.
 */
export async function openNpz(source: ByteSource & { close?(): void }): Promise<NumpyFile> {
  const archive = await openZip(source);
  const arrays = new Map<string, ArrayPlace>();
  for (const [name, entry] of archive.entries) {
    if (!name.endsWith('.npy'))
      throw new InvalidFileError(source.name, `holds ${quoted(name)}, which is no .npy array`);
    const head = await archive.head(entry, NPY_HEAD_BYTES);
    const header = parseNpyHeader(`${source.name}/${name}`, entry.size, head);
    arrays.set(name.slice(0, -'.npy'.length), { header, bytes: () => archive.read(entry) });
  }
  return numpyFile(source, arrays);
}

/** Opens an `.npy` file; its one array is named `array`. Throws an InvalidFileError as `openNpz` does. */
export async function openNpy(source: ByteSource & { close?(): void }): Promise<NumpyFile> {
  const head = await source.read(0, Math.min(NPY_HEAD_BYTES, source.size));
  const header = parseNpyHeader(source.name, source.size, head);
  return numpyFile(source, new Map([['array', { header, bytes: async () => source.read(0, source.size) }]]));
}

function numpyFile(source: ByteSource & { close?(): void }, arrays: ReadonlyMap<string, ArrayPlace>): NumpyFile {
  const read = async <T>(name: string, convert: (bytes: Uint8Array<ArrayBuffer>, dtype: DType) => T) => {
    const array = arrays.get(name);
    if (array === undefined) throw new InvalidFileError(source.name, `holds no array named ${quoted(name)}`);
    const { header } = array;
    try {
      return { shape: header.shape, data: convert(elements(await array.bytes(), header), header.dtype) };
    } catch (cause) {
      if (InvalidFileError.isInstance(cause)) throw cause;
      throw new InvalidFileError(source.name, `${name}: ${cause instanceof Error ? cause.message : String(cause)}`, {
        cause,
      });
    }
  };
  return {
    name: source.name,
    metadata: new Map(),
    tensors: new Map([...arrays].map(([name, { header }]) => [name, { shape: header.shape, dtype: header.dtype }])),
    read: (name): Promise<HostTensor> => read(name, widen),
    readFloat64: (name) => read(name, toFloat64),
    close: () => source.close?.(),
  };
}

/** The elements in row-major order, little-endian, in a buffer of their own. */
function elements(file: Uint8Array<ArrayBuffer>, header: NpyHeader): Uint8Array<ArrayBuffer> {
  const width = BYTES_PER_ELEMENT[header.dtype];
  const bytes = file.slice(header.dataStart, header.dataStart + header.dataSize);
  if (!header.littleEndian) swapByteOrder(bytes, width);
  if (!header.fortranOrder || header.dataSize === 0) return bytes;
  const strides: number[] = [];
  for (let axis = 0; axis < header.shape.length; axis++) {
    strides.push(axis === 0 ? 1 : strides[axis - 1]! * header.shape[axis - 1]!);
  }
  return gather(bytes, width, header.shape, strides);
}
