import { InvalidFileError, quoted, readingBudget } from '@mezzotint/core';
import { parseStrictJson, type StrictJson } from '../json/strict-json.js';
import { BYTES_PER_ELEMENT, type DType, isDType } from '../numbers/dtypes.js';

/** Bytes of the header's length at the start of the file. */
export const LENGTH_BYTES = 8;

/** Most axes of a tensor; torch has no more. */
const MAX_RANK = 64;

/** Where one tensor lies: `begin .. end` counted from the file's first byte. */
export interface SafetensorsEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** What a safetensors header says. */
export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Length of the JSON header from the file's first 8 bytes. Throws an InvalidFileError when it cannot be one. */
export function parseHeaderLength(file: string, fileSize: number, first: Uint8Array): number {
  const view = new DataView(first.buffer, first.byteOffset, LENGTH_BYTES);
  const length = view.getBigUint64(0, true);
  const room = fileSize - LENGTH_BYTES;
  if (length > BigInt(room)) {
    throw new InvalidFileError(
      file,
      `not a safetensors file, or truncated: the header claims ${length} bytes, ${room} are there`,
    );
  }
  if (length > BigInt(readingBudget.headerBytes)) {
    throw new InvalidFileError(
      file,
      `the header claims ${length} bytes; at most ${readingBudget.headerBytes} are read`,
    );
  }
  if (length < 2n) throw new InvalidFileError(file, `the header claims ${length} bytes, expected at least 2`);
  return Number(length);
}

/** Parses and checks a header. Throws an InvalidFileError with every problem found. */
export function parseHeader(file: string, fileSize: number, headerBytes: Uint8Array): SafetensorsHeader {
  const dataStart = LENGTH_BYTES + headerBytes.byteLength;
  const root = parseJsonObject(file, headerBytes);
  if (root.size > readingBudget.tensors) {
    throw new InvalidFileError(file, `holds ${root.size} tensors; at most ${readingBudget.tensors} are read`);
  }
  const problems: string[] = [];
  const tensors = new Map<string, SafetensorsEntry>();
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of root) {
    const entry = name === '__metadata__' ? parseMetadata(value) : parseEntry(value, dataStart, fileSize);
    if (typeof entry === 'string') problems.push(`${quoted(name)}: ${entry}`);
    else if (entry instanceof Map) metadata = entry;
    else tensors.set(name, entry as SafetensorsEntry);
  }
  if (problems.length === 0) problems.push(...coverageProblems(tensors, dataStart, fileSize));
  if (problems.length > 0) {
    const shown = problems.slice(0, 20);
    if (problems.length > shown.length) shown.push(`… and ${problems.length - shown.length} more`);
    throw new InvalidFileError(file, `damaged safetensors header: ${shown.join('; ')}`);
  }
  return { tensors, metadata };
}

function parseJsonObject(file: string, bytes: Uint8Array): ReadonlyMap<string, StrictJson> {
  let json: StrictJson;
  try {
    json = parseStrictJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? cause.message : 'it is not UTF-8';
    throw new InvalidFileError(file, `not a safetensors file: the header is not JSON (${reason})`, { cause });
  }
  if (!(json instanceof Map)) {
    throw new InvalidFileError(file, 'not a safetensors file: the header is not a JSON object');
  }
  return json;
}

function parseMetadata(value: StrictJson): Map<string, string> | string {
  if (value === null) return new Map(); // As the reference reads it.
  if (!(value instanceof Map)) return 'expected an object of strings';
  for (const [key, text] of value) if (typeof text !== 'string') return `${quoted(key)} is not a string`;
  return value as Map<string, string>;
}

function parseEntry(value: StrictJson, dataStart: number, fileSize: number): SafetensorsEntry | string {
  if (!(value instanceof Map)) return 'expected an object with dtype, shape and data_offsets';
  for (const key of value.keys()) {
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets') return `unknown field ${quoted(key)}`;
  }
  const { dtype, shape, data_offsets: offsets } = Object.fromEntries(value) as Record<string, StrictJson>;
  if (!isDType(dtype)) {
    return `the dtype ${show(dtype)} cannot be read (known: ${Object.keys(BYTES_PER_ELEMENT).join(', ')})`;
  }
  if (!isSizes(shape)) return `the shape ${show(shape)} is not a list of whole numbers from 0`;
  if (!isSizes(offsets) || offsets.length !== 2) {
    return `the data_offsets ${show(offsets)} are not two whole numbers from 0`;
  }
  const bytes = shape.reduce((n, d) => n * d, BYTES_PER_ELEMENT[dtype]);
  const [begin, end] = offsets as [number, number];
  if (!Number.isSafeInteger(bytes)) return `the shape ${show(shape)} is too large`;
  if (end - begin !== bytes) {
    return `${dtype} of shape ${show(shape)} takes ${bytes} bytes, the data_offsets ${show(offsets)} hold ${end - begin}`;
  }
  if (dataStart + end > fileSize) {
    return `the data_offsets ${show(offsets)} lie outside the ${fileSize - dataStart} bytes of data (truncated file?)`;
  }
  return { dtype, shape, begin: dataStart + begin, end: dataStart + end };
}

/** The tensors must cover the data exactly: no overlap, no hole, nothing after the last. */
function coverageProblems(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  dataStart: number,
  fileSize: number,
): string[] {
  const inOrder = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = dataStart;
  for (const [name, { begin, end }] of inOrder) {
    if (begin < at) return [`${quoted(name)} overlaps the tensor before it by ${at - begin} bytes`];
    if (begin > at) return [`${begin - at} bytes before ${quoted(name)} belong to no tensor`];
    at = end;
  }
  return at === fileSize ? [] : [`${fileSize - at} bytes after the last tensor belong to no tensor`];
}

function isSizes(value: StrictJson | undefined): value is readonly number[] {
  return (
    Array.isArray(value) &&
    value.length <= MAX_RANK &&
    value.every((d) => Number.isSafeInteger(d) && (d as number) >= 0)
  );
}

function show(value: StrictJson | undefined): string {
  const text = JSON.stringify(value instanceof Map ? Object.fromEntries(value) : value) ?? 'nothing';
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}
