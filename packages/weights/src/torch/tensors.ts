import { type HostTensor, InvalidFileError, readingBudget, sizeOf } from '@mezzotint/core';
import type { ByteSource } from '../bytes/byte-source.js';
import { BYTES_PER_ELEMENT, type DType, isDType } from '../numbers/dtypes.js';
import { gather, isContiguous } from '../numbers/strided.js';
import { swapByteOrder, widen } from '../numbers/widen.js';

/** The bytes that one or more tensors look into. */
export class TorchStorage {
  constructor(
    readonly key: string,
    /** Type of its elements; undefined when it is untyped and each tensor says. */
    readonly dtype: string | undefined,
    /** Number of elements; bytes when it is untyped. */
    readonly elements: number,
  ) {}
}

/** A view into a storage: element [i, j, …] lies at `offset + i strides[0] + j strides[1] + …`, counted in elements. */
export class TorchTensor {
  constructor(
    readonly storage: TorchStorage,
    readonly dtype: string,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

/** Where the storages of a file are. */
export interface StorageBytes {
  readonly littleEndian: boolean;
  /** The bytes of a storage by range. */
  open(storage: TorchStorage): Promise<ByteSource>;
  /** A whole storage, its checksum compared where the file has one. */
  readWhole(storage: TorchStorage): Promise<Uint8Array<ArrayBuffer>>;
}

/** Reads one tensor. Throws an InvalidFileError when its view leaves its storage or its storage the file. */
export async function readTorchTensor(
  file: string,
  name: string,
  tensor: TorchTensor,
  storages: StorageBytes,
): Promise<HostTensor> {
  const fail = (problem: string): never => {
    throw new InvalidFileError(file, `${name}: ${problem}`);
  };
  const { storage, shape, strides, offset } = tensor;
  const dtype = isDType(tensor.dtype) ? tensor.dtype : fail(`the element type ${tensor.dtype} cannot be read`);
  const width = BYTES_PER_ELEMENT[dtype];
  const count = sizeOf(shape);
  if (count === 0) return { shape, data: widen(new Uint8Array(0), dtype) };

  const room = storage.dtype === undefined ? Math.floor(storage.elements / width) : storage.elements;
  const last = shape.reduce((at, d, axis) => at + (d - 1) * strides[axis]!, offset);
  if (!Number.isSafeInteger(count) || !Number.isSafeInteger(last) || last >= room) {
    return fail(`its view ends at element ${last} of a storage of ${room}`);
  }
  if (count > last - offset + 1 && count * 4 > readingBudget.expandedBytes) {
    return fail(`it repeats ${last - offset + 1} elements to ${count}; save it without expand() or as contiguous()`);
  }
  const whole =
    offset === 0 && (last + 1) * width === (storage.dtype === undefined ? room * width : storage.elements * width);
  const bytes = whole
    ? exactly(await storages.readWhole(storage), (last + 1) * width, fail)
    : await (await storages.open(storage)).read(offset * width, (last - offset + 1) * width);
  if (!storages.littleEndian) swapByteOrder(bytes, width);
  try {
    const data = widen(isContiguous(shape, strides) ? bytes : gather(bytes, width, shape, strides), dtype);
    return { shape, data };
  } catch (cause) {
    return fail(cause instanceof Error ? cause.message : String(cause));
  }
}

/** The storage's own record may be padded, never shorter. */
function exactly(
  bytes: Uint8Array<ArrayBuffer>,
  length: number,
  fail: (problem: string) => never,
): Uint8Array<ArrayBuffer> {
  if (bytes.byteLength < length) fail(`its storage has ${bytes.byteLength} bytes, expected ${length}`);
  return bytes.byteLength === length ? bytes : bytes.slice(0, length);
}

/** Element types by torch's names of storages and dtypes. */
export const TORCH_DTYPES: Readonly<Record<string, DType | 'C64' | 'C128'>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
  ComplexFloatStorage: 'C64',
  ComplexDoubleStorage: 'C128',
  float64: 'F64',
  double: 'F64',
  float32: 'F32',
  float: 'F32',
  float16: 'F16',
  half: 'F16',
  bfloat16: 'BF16',
  float8_e4m3fn: 'F8_E4M3',
  float8_e5m2: 'F8_E5M2',
  int64: 'I64',
  long: 'I64',
  int32: 'I32',
  int: 'I32',
  int16: 'I16',
  short: 'I16',
  int8: 'I8',
  uint64: 'U64',
  uint32: 'U32',
  uint16: 'U16',
  uint8: 'U8',
  bool: 'BOOL',
  complex64: 'C64',
  complex128: 'C128',
};
