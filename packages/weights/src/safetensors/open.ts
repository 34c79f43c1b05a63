import { type HalfType, type HostTensor, InvalidFileError, type KeptType, type StoredTensor } from '@mezzotint/core';
import type { ByteSource, SyncByteSource } from '../bytes/byte-source.js';
import type { DType } from '../numbers/dtypes.js';
import { widen } from '../numbers/widen.js';
import type { WeightFile } from '../weight-file.js';
import { LENGTH_BYTES, parseHeader, parseHeaderLength, type SafetensorsEntry } from './header.js';

/** A safetensors file whose bytes answer at once, so that `read` does too. */
export interface SyncWeightFile extends WeightFile {
  read(name: string): HostTensor;
  take(name: string, keep?: readonly KeptType[]): StoredTensor;
}

/**
 * Opens a safetensors file of bytes that answer at once: reads and checks the header; tensors are read one at a time
 * when asked for, widened to float32 or int32. Throws an InvalidFileError when the file is not what it claims.
 */
export function openSafetensorsSync(source: SyncByteSource & { close?(): void }): SyncWeightFile {
  checkSize(source);
  const length = parseHeaderLength(source.name, source.size, source.read(0, LENGTH_BYTES));
  const { tensors, metadata } = parseHeader(source.name, source.size, source.read(LENGTH_BYTES, length));
  return {
    name: source.name,
    tensors,
    metadata,
    read: (name) => {
      const entry = find(source.name, tensors, name);
      return decode(source.name, name, entry, source.read(entry.begin, entry.end - entry.begin));
    },
    take: (name, keep) => {
      const entry = find(source.name, tensors, name);
      return stored(source.name, name, entry, source.read(entry.begin, entry.end - entry.begin), keep);
    },
    close: () => source.close?.(),
  };
}

/** `openSafetensorsSync` for bytes that may take their time (a `Blob`, a remote object). */
export async function openSafetensors(source: ByteSource & { close?(): void }): Promise<WeightFile> {
  checkSize(source);
  const length = parseHeaderLength(source.name, source.size, await source.read(0, LENGTH_BYTES));
  const { tensors, metadata } = parseHeader(source.name, source.size, await source.read(LENGTH_BYTES, length));
  return {
    name: source.name,
    tensors,
    metadata,
    read: async (name) => {
      const entry = find(source.name, tensors, name);
      return decode(source.name, name, entry, await source.read(entry.begin, entry.end - entry.begin));
    },
    take: async (name, keep) => {
      const entry = find(source.name, tensors, name);
      return stored(source.name, name, entry, await source.read(entry.begin, entry.end - entry.begin), keep);
    },
    close: () => source.close?.(),
  };
}

function checkSize({ name, size }: ByteSource): void {
  if (size < LENGTH_BYTES + 2) {
    throw new InvalidFileError(
      name,
      `not a safetensors file: it has ${size} bytes, the smallest has ${LENGTH_BYTES + 2}`,
    );
  }
}

function find(file: string, tensors: ReadonlyMap<string, SafetensorsEntry>, name: string): SafetensorsEntry {
  const entry = tensors.get(name);
  if (entry === undefined) throw new InvalidFileError(file, `holds no tensor named ${JSON.stringify(name)}`);
  return entry;
}

function decode(file: string, name: string, entry: SafetensorsEntry, bytes: Uint8Array<ArrayBuffer>): HostTensor {
  try {
    return { shape: entry.shape, data: widen(bytes, entry.dtype) };
  } catch (cause) {
    throw new InvalidFileError(file, `${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Types of 16-bit floats by their safetensors names. */
const HALF_TYPES: Partial<Readonly<Record<DType, HalfType>>> = { F16: 'float16', BF16: 'bfloat16' };

function stored(
  file: string,
  name: string,
  entry: SafetensorsEntry,
  bytes: Uint8Array<ArrayBuffer>,
  keep: readonly KeptType[] = [],
): StoredTensor {
  const half = HALF_TYPES[entry.dtype];
  if (half !== undefined && keep.includes(half)) {
    return { shape: entry.shape, dtype: half, data: new Uint16Array(bytes.buffer, 0, bytes.byteLength / 2) };
  }
  const tensor = decode(file, name, entry, bytes);
  return { ...tensor, dtype: tensor.data instanceof Int32Array ? 'int32' : 'float32' };
}
