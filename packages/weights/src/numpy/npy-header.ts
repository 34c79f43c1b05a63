import { InvalidFileError } from '@mezzotint/core';
import { BYTES_PER_ELEMENT, type DType } from '../numbers/dtypes.js';

/** What the header of an `.npy` file says. */
export interface NpyHeader {
  readonly dtype: DType;
  readonly littleEndian: boolean;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
  /** Where the elements start. */
  readonly dataStart: number;
  /** Bytes of the elements. */
  readonly dataSize: number;
}

/** Enough bytes for every header of a numeric array that NumPy writes. */
export const NPY_HEAD_BYTES = 4096;

/** NumPy has no more axes. */
const MAX_RANK = 64;

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

const DTYPES: Readonly<Record<string, DType>> = {
  f2: 'F16',
  f4: 'F32',
  f8: 'F64',
  i1: 'I8',
  i2: 'I16',
  i4: 'I32',
  i8: 'I64',
  u1: 'U8',
  u2: 'U16',
  u4: 'U32',
  u8: 'U64',
  b1: 'BOOL',
};

/**
 * Parses the head of an `.npy` file (formats 1 to 3 of NumPy's NEP 1): a Python dict literal with descr, fortran_order
 * and shape. Throws an InvalidFileError for other element types (objects, records, text) and for sizes that do not fit
 * `fileSize`.
 */
export function parseNpyHeader(file: string, fileSize: number, head: Uint8Array): NpyHeader {
  const fail = (problem: string): never => {
    throw new InvalidFileError(file, problem);
  };
  if (head.length < 12 || MAGIC.some((byte, i) => head[i] !== byte)) return fail('not an .npy array');
  const version = head[6]!;
  if (version < 1 || version > 3) return fail(`an .npy array of format ${version}; 1 to 3 are read`);
  const view = new DataView(head.buffer, head.byteOffset);
  const textStart = version === 1 ? 10 : 12;
  const textLength = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const dataStart = textStart + textLength;
  if (dataStart > head.length) return fail('a damaged .npy array: its header is cut or too long');
  const text = new TextDecoder('latin1').decode(head.subarray(textStart, dataStart));

  const descr = /'descr':\s*'([<>|=])([a-zA-Z]\d+)'\s*,?/.exec(text);
  const order = /'fortran_order':\s*(True|False)\s*,?/.exec(text);
  const dims = /'shape':\s*\(\s*((?:\d+\s*,\s*)*\d*)\s*\)\s*,?/.exec(text);
  if (descr === null || order === null || dims === null) {
    return fail(
      `an .npy array that cannot be read: only plain numbers are, its header is ${text.trim().slice(0, 200)}`,
    );
  }
  const rest = text.replace(descr[0], '').replace(order[0], '').replace(dims[0], '');
  if (!/^\{\s*\}\s*$/.test(rest))
    return fail('a damaged .npy array: its header has more than descr, fortran_order and shape');
  const dtype = DTYPES[descr[2]!] ?? fail(`an .npy array of the element type ${descr[2]}, which is not read`);
  const shape = dims[1]!.split(',').flatMap((d) => (d.trim() === '' ? [] : [Number(d)]));
  if (shape.length > MAX_RANK) return fail(`an .npy array of ${shape.length} axes; at most ${MAX_RANK} are read`);
  const dataSize = shape.reduce((n, d) => n * d, BYTES_PER_ELEMENT[dtype]);
  if (!Number.isSafeInteger(dataSize) || dataStart + dataSize !== fileSize) {
    return fail(`an .npy array of shape [${shape}] takes ${dataSize} bytes, ${fileSize - dataStart} are there`);
  }
  return { dtype, littleEndian: descr[1] !== '>', fortranOrder: order[1] === 'True', shape, dataStart, dataSize };
}
