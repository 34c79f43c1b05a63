import { InvalidFileError, quoted, readingBudget, sizeOf } from '@mezzotint/core';
import { GGUF_SIZES, type GgufType, ggufType } from './types.js';

/** Where one tensor lies: `begin .. end` counted from the file's first byte. */
export interface GgufEntry {
  readonly dtype: GgufType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** What a GGUF header says. */
export interface GgufHeader {
  readonly tensors: ReadonlyMap<string, GgufEntry>;
  /** Numbers, booleans and texts of the header, as text. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Lists of the header that are kept: the vocabulary's, `tokenizer.ggml.*`. */
  readonly lists: ReadonlyMap<string, GgufList>;
}

/** A list of a header: texts, bytes, or other numbers. */
export type GgufList = readonly string[] | Uint8Array | readonly number[];

/** Keys of a vocabulary: its lists are kept, all others are passed over. */
const VOCABULARY = 'tokenizer.ggml.';

/** Where ComfyUI-GGUF notes the shapes of tensors that it stores reshaped. */
const ORIGINAL_SHAPE = 'comfy.gguf.orig_shape.';

/** The bytes end inside the header; more of the file is needed. */
export class HeaderIsLonger {}

/**
 * Parses a GGUF header, version 2 or 3, from the first bytes of a file.
 *
 * @throws HeaderIsLonger when it goes on behind them; InvalidFileError with what is wrong with it
 */
export function parseGgufHeader(file: string, fileSize: number, bytes: Uint8Array): GgufHeader {
  const cursor = new Cursor(file, fileSize, bytes);
  if (cursor.text(4) !== 'GGUF') throw new InvalidFileError(file, 'not a GGUF file: it does not begin with GGUF');
  const version = cursor.u32();
  if (version !== 2 && version !== 3) {
    const bigEndian = version === 2 ** 25 || version === 3 * 2 ** 24;
    cursor.fail(bigEndian ? 'it is big-endian, which is not read' : `expected version 2 or 3, got ${version}`);
  }
  const tensorCount = cursor.count('tensors', 24, readingBudget.tensors);
  const keyCount = cursor.count('keys', 12, readingBudget.tensors);
  const metadata = new Map<string, string>();
  const lists = new Map<string, GgufList>();
  const originalShapes = new Map<string, readonly number[]>();
  for (let i = 0; i < keyCount; i++) {
    const key = cursor.string('a key', readingBudget.nameBytes);
    const type = cursor.u32();
    if (type === ARRAY && key.startsWith(VOCABULARY)) {
      lists.set(key, readList(cursor));
      continue;
    }
    const value = readValue(cursor, type, key.startsWith(ORIGINAL_SHAPE));
    if (Array.isArray(value)) originalShapes.set(key.slice(ORIGINAL_SHAPE.length), value);
    else if (value !== undefined) metadata.set(key, String(value));
  }
  const infos = Array.from({ length: tensorCount }, () => readTensorInfo(cursor));
  const alignment = Number(metadata.get('general.alignment') ?? 32);
  if (!(Number.isInteger(Math.log2(alignment)) && alignment >= 1 && alignment <= 2 ** 20)) {
    cursor.fail(`general.alignment: expected a power of two, got ${metadata.get('general.alignment')}`);
  }
  const dataStart = Math.ceil(cursor.at / alignment) * alignment;
  const problems: string[] = [];
  const tensors = new Map<string, GgufEntry>();
  for (const info of infos) {
    const entry = place(info, dataStart, fileSize, alignment, originalShapes.get(info.name));
    if (typeof entry === 'string') problems.push(`${quoted(info.name)}: ${entry}`);
    else if (tensors.has(info.name)) problems.push(`${quoted(info.name)}: there are two tensors of this name`);
    else tensors.set(info.name, entry);
  }
  if (problems.length === 0) problems.push(...overlaps(tensors));
  if (problems.length > 0) {
    const shown = problems.slice(0, 20);
    if (problems.length > shown.length) shown.push(`… and ${problems.length - shown.length} more`);
    throw new InvalidFileError(file, `damaged GGUF header: ${shown.join('; ')}`);
  }
  return { tensors, metadata, lists };
}

interface TensorInfo {
  readonly name: string;
  /** Innermost axis first, as ggml has it. */
  readonly dims: readonly number[];
  readonly type: number;
  readonly offset: number;
}

function readTensorInfo(cursor: Cursor): TensorInfo {
  const name = cursor.string('the name of a tensor', readingBudget.nameBytes);
  const rank = cursor.u32();
  if (rank > 8) cursor.fail(`${quoted(name)} has ${rank} axes, at most 8 are read`);
  const dims = Array.from({ length: rank }, () => cursor.u64());
  return { name, dims, type: cursor.u32(), offset: cursor.u64() };
}

function place(
  { dims, type, offset }: TensorInfo,
  dataStart: number,
  fileSize: number,
  alignment: number,
  original: readonly number[] | undefined,
): GgufEntry | string {
  const dtype = ggufType(type);
  if (typeof dtype === 'object') return dtype.problem;
  const stored = [...dims].reverse();
  const count = sizeOf(stored);
  if (!Number.isSafeInteger(count)) return `the shape [${stored}] is too large`;
  const { elements, bytes } = GGUF_SIZES[dtype];
  if (elements > 1 && (dims[0] ?? 1) % elements !== 0 && count > 0) {
    return `${dtype} of shape [${stored}] is not in whole blocks of ${elements}`;
  }
  const length = (count / elements) * bytes;
  if (offset % alignment !== 0) return `its offset ${offset} is no multiple of ${alignment}`;
  if (!Number.isSafeInteger(offset) || dataStart + offset + length > fileSize) {
    return `${length} bytes at ${offset} lie outside the ${Math.max(0, fileSize - dataStart)} bytes of data (truncated file?)`;
  }
  if (original !== undefined && sizeOf(original) !== count) {
    return `the noted original shape [${original}] has another size than [${stored}]`;
  }
  return { dtype, shape: original ?? stored, begin: dataStart + offset, end: dataStart + offset + length };
}

/** No byte belongs to two tensors: reading each once reads at most the file. */
function overlaps(tensors: ReadonlyMap<string, GgufEntry>): string[] {
  let at = 0;
  for (const [name, { begin, end }] of [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (begin < at) return [`${quoted(name)} overlaps the tensor before it by ${at - begin} bytes`];
    at = end;
  }
  return [];
}

/** Widths of the plain values of metadata by their type number; texts are 8, arrays 9. */
const VALUE_BYTES: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const TEXT = 8;
const ARRAY = 9;

/** A list of texts or numbers. The header's bytes bound its length. */
function readList(cursor: Cursor): GgufList {
  const type = cursor.u32();
  if (type === ARRAY) cursor.fail('a vocabulary has lists of lists');
  const count = cursor.count('values of an array', type === TEXT ? 8 : cursor.width(type), readingBudget.tokenIds);
  if (type === TEXT) return Array.from({ length: count }, () => cursor.string('a piece', readingBudget.nameBytes));
  if (cursor.width(type) === 1) {
    const from = cursor.skip(count);
    return cursor.bytes.slice(from, from + count);
  }
  return Array.from({ length: count }, () => cursor.number(type));
}

/** A value of the metadata; arrays are passed over, or read as a shape. */
function readValue(cursor: Cursor, type: number, asShape: boolean, depth = 0): number | string | number[] | undefined {
  if (type === TEXT) return cursor.string('a value', readingBudget.headerBytes);
  if (type !== ARRAY) return cursor.number(type);
  if (depth > 4) cursor.fail('arrays are nested deeper than 4');
  const inner = cursor.u32();
  const count = cursor.count('values of an array', inner === TEXT || inner === ARRAY ? 8 : (VALUE_BYTES[inner] ?? 1));
  if (asShape && count <= 8) {
    const shape = Array.from({ length: count }, () => readValue(cursor, inner, false, depth + 1));
    if (!shape.every((d) => Number.isSafeInteger(d) && (d as number) >= 0)) cursor.fail(`a noted shape is [${shape}]`);
    return shape as number[];
  }
  if (inner === TEXT || inner === ARRAY) for (let i = 0; i < count; i++) cursor.pass(inner, depth + 1);
  else cursor.skip(count * cursor.width(inner));
  return undefined;
}

/** The reading head. */
class Cursor {
  at = 0;
  readonly #view: DataView;

  constructor(
    readonly file: string,
    readonly size: number,
    readonly bytes: Uint8Array,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  fail(problem: string): never {
    throw new InvalidFileError(this.file, `damaged GGUF header: ${problem}`);
  }

  skip(length: number): number {
    const from = this.at;
    if (from + length > this.size) this.fail('it ends in the middle (truncated file?)');
    if (from + length > this.bytes.byteLength) throw new HeaderIsLonger();
    this.at += length;
    return from;
  }

  u32(): number {
    return this.#view.getUint32(this.skip(4), true);
  }

  /** Beyond 2^53 it is rounded, and refused wherever it counts. */
  u64(): number {
    return Number(this.#view.getBigUint64(this.skip(8), true));
  }

  /** A number of things that take at least so many bytes each. */
  count(what: string, bytesEach: number, most = Number.MAX_SAFE_INTEGER): number {
    const count = this.u64();
    if (count > most) this.fail(`it claims ${count} ${what}; at most ${most} are read`);
    if (count * bytesEach > this.size) this.fail(`it claims ${count} ${what}, the file has ${this.size} bytes`);
    return count;
  }

  text(length: number): string {
    const from = this.skip(length);
    return new TextDecoder('utf-8').decode(this.bytes.subarray(from, from + length));
  }

  string(what: string, most: number): string {
    const length = this.u64();
    if (length > most) this.fail(`${what} has ${length} bytes, at most ${most} are read`);
    return this.text(length);
  }

  width(type: number): number {
    return VALUE_BYTES[type] ?? this.fail(`a value has the type ${type}, which there is not`);
  }

  number(type: number): number {
    const from = this.skip(this.width(type));
    switch (type) {
      case 0:
      case 7:
        return this.#view.getUint8(from);
      case 1:
        return this.#view.getInt8(from);
      case 2:
        return this.#view.getUint16(from, true);
      case 3:
        return this.#view.getInt16(from, true);
      case 4:
        return this.#view.getUint32(from, true);
      case 5:
        return this.#view.getInt32(from, true);
      case 6:
        return this.#view.getFloat32(from, true);
      case 10:
        return Number(this.#view.getBigUint64(from, true));
      case 11:
        return Number(this.#view.getBigInt64(from, true));
      default:
        return this.#view.getFloat64(from, true);
    }
  }

  /** Passes over a text or an array. */
  pass(type: number, depth: number): void {
    if (type === TEXT) this.skip(this.u64());
    else readValue(this, type, false, depth);
  }
}
