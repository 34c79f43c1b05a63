import { InvalidFileError, quoted, readingBudget } from '@mezzotint/core';
import type { ByteSource } from '../bytes/byte-source.js';

/** One file inside a zip archive. */
export interface ZipEntry {
  readonly name: string;
  /** 0 stored, 8 deflate. */
  readonly method: number;
  readonly crc: number;
  /** Bytes in the archive. */
  readonly packedSize: number;
  /** Bytes when unpacked. */
  readonly size: number;
  /** Where the entry's own header starts. */
  readonly headerOffset: number;
}

/** Bytes of an entry's own header, its name and extra field left out. */
export const LOCAL_SIZE = 30;
const END_SIZE = 22;
const END_SIGNATURE = 0x0605_4b50;
const END64_LOCATOR_SIZE = 20;
const END64_LOCATOR_SIGNATURE = 0x0706_4b50;
const END64_SIZE = 56;
const END64_SIGNATURE = 0x0606_4b50;
const ENTRY_SIZE = 46;
const ENTRY_SIGNATURE = 0x0201_4b50;
const MAX_COMMENT = 0xffff;

/** A deflate stream cannot unpack to more than this many times its size (RFC 1951: 258 bytes from 2 bits). */
const MAX_DEFLATE_RATIO = 1032;

/**
 * Reads the list of a zip archive's files (APPNOTE 4.3, with ZIP64) and checks every size and place against the file.
 * Throws an InvalidFileError for anything that does not fit: encryption, several disks, two entries of one name, sizes
 * that cannot be.
 */
export async function readCentralDirectory(source: ByteSource): Promise<ReadonlyMap<string, ZipEntry>> {
  const { offset, size, count } = await findDirectory(source);
  const fail = (problem: string): never => {
    throw new InvalidFileError(source.name, `damaged zip archive: ${problem}`);
  };
  if (offset + size > source.size) fail(`its directory ends at ${offset + size}, the file at ${source.size}`);
  if (count > readingBudget.zipEntries) fail(`it has ${count} entries; at most ${readingBudget.zipEntries} are read`);
  if (size > readingBudget.headerBytes)
    fail(`its directory has ${size} bytes; at most ${readingBudget.headerBytes} are read`);
  if (count * ENTRY_SIZE > size) fail(`${count} entries do not fit a directory of ${size} bytes`);
  const bytes = await source.read(offset, size);
  const view = new DataView(bytes.buffer);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + ENTRY_SIZE > size || view.getUint32(at, true) !== ENTRY_SIGNATURE) fail(`entry ${i} has no signature`);
    const nameLength = view.getUint16(at + 28, true);
    const extraLength = view.getUint16(at + 30, true);
    const next = at + ENTRY_SIZE + nameLength + extraLength + view.getUint16(at + 32, true);
    if (next > size) fail(`entry ${i} is longer than the directory`);
    const entry = parseEntry(view, bytes, at, nameLength, extraLength);
    if (typeof entry === 'string') return fail(`entry ${i}: ${entry}`);
    if (entries.has(entry.name)) fail(`two entries are named ${quoted(entry.name)}`);
    if (entry.headerOffset + entry.packedSize > offset) fail(`${quoted(entry.name)} reaches past the data`);
    entries.set(entry.name, entry);
    at = next;
  }
  const overlap = overlapOf(entries.values());
  if (overlap !== undefined) fail(`${quoted(overlap)} overlaps the entry before it`);
  return entries;
}

/**
 * An entry that begins inside of another. Honest archives have none; a hostile one lets thousands of names point at the same
 * bytes (D. Fifield, "A better zip bomb", 2019).
 */
function overlapOf(entries: Iterable<ZipEntry>): string | undefined {
  let end = 0;
  for (const { name, headerOffset, packedSize } of [...entries].sort((a, b) => a.headerOffset - b.headerOffset)) {
    if (headerOffset < end) return name;
    end = headerOffset + LOCAL_SIZE + packedSize;
  }
  return undefined;
}

function parseEntry(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  nameLength: number,
  extraLength: number,
): ZipEntry | string {
  const flags = view.getUint16(at + 8, true);
  const method = view.getUint16(at + 10, true);
  const nameStart = at + ENTRY_SIZE;
  let name: string;
  try {
    name = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(nameStart, nameStart + nameLength));
  } catch {
    return 'its name is not UTF-8';
  }
  const label = quoted(name);
  if ((flags & 1) !== 0) return `${label} is encrypted`;
  if (method !== 0 && method !== 8) return `${label} is packed by method ${method}; only stored and deflate are read`;
  const wide = readZip64Extra(view, nameStart + nameLength, extraLength, {
    size: view.getUint32(at + 24, true),
    packedSize: view.getUint32(at + 20, true),
    headerOffset: view.getUint32(at + 42, true),
  });
  if (wide === undefined) return `${label} has a damaged ZIP64 field`;
  const { size, packedSize } = wide;
  if (method === 0 && size !== packedSize) return `${label} is stored, but takes ${packedSize} bytes for ${size}`;
  if (size > packedSize * MAX_DEFLATE_RATIO) return `${label} claims to unpack ${packedSize} bytes to ${size}`;
  return { name, method, crc: view.getUint32(at + 16, true), ...wide };
}

interface Sizes {
  readonly size: number;
  readonly packedSize: number;
  readonly headerOffset: number;
}

/** Fields that are all ones stand in the extra field 0x0001 as 64 bits, in this order (APPNOTE 4.5.3). */
function readZip64Extra(view: DataView, start: number, length: number, narrow: Sizes): Sizes | undefined {
  const wide = Object.entries(narrow).filter(([, value]) => value === 0xffff_ffff);
  if (wide.length === 0) return narrow;
  for (let at = start; at + 4 <= start + length; ) {
    const id = view.getUint16(at, true);
    const fieldLength = view.getUint16(at + 2, true);
    if (at + 4 + fieldLength > start + length) return undefined;
    if (id === 1) {
      if (fieldLength < 8 * wide.length) return undefined;
      const values = wide.map(([key], i) => [key, Number(view.getBigUint64(at + 4 + 8 * i, true))] as const);
      return values.every(([, value]) => Number.isSafeInteger(value))
        ? { ...narrow, ...Object.fromEntries(values) }
        : undefined;
    }
    at += 4 + fieldLength;
  }
  return undefined;
}

/** Where the directory is: the end record, found from the back, and its ZIP64 form where it points to one. */
async function findDirectory(source: ByteSource): Promise<{ offset: number; size: number; count: number }> {
  const length = Math.min(source.size, END_SIZE + MAX_COMMENT + END64_LOCATOR_SIZE);
  const start = source.size - length;
  const tail = await source.read(start, length);
  const view = new DataView(tail.buffer);
  const at = findEnd(view);
  if (at === undefined) {
    throw new InvalidFileError(source.name, 'not a zip archive, or truncated: its end record is not there');
  }
  const disks = view.getUint16(at + 4, true) | view.getUint16(at + 6, true);
  const narrow = {
    count: view.getUint16(at + 10, true),
    size: view.getUint32(at + 12, true),
    offset: view.getUint32(at + 16, true),
  };
  const locator = at - END64_LOCATOR_SIZE;
  const hasLocator = locator >= 0 && view.getUint32(locator, true) === END64_LOCATOR_SIGNATURE;
  const isWide = narrow.count === 0xffff || narrow.size === 0xffff_ffff || narrow.offset === 0xffff_ffff;
  if (isWide && hasLocator) return readEnd64(source, Number(view.getBigUint64(locator + 8, true)));
  if (disks !== 0) throw new InvalidFileError(source.name, 'zip archives over several disks are not read');
  return narrow;
}

function findEnd(view: DataView): number | undefined {
  for (let at = view.byteLength - END_SIZE; at >= 0; at--) {
    if (view.getUint32(at, true) !== END_SIGNATURE) continue;
    if (at + END_SIZE + view.getUint16(at + 20, true) === view.byteLength) return at;
  }
  return undefined;
}

async function readEnd64(source: ByteSource, at: number): Promise<{ offset: number; size: number; count: number }> {
  const view = new DataView((await source.read(at, END64_SIZE)).buffer);
  const [count, size, offset] = [32, 40, 48].map((field) => Number(view.getBigUint64(field, true))) as [
    number,
    number,
    number,
  ];
  const safe = [count, size, offset].every((value) => Number.isSafeInteger(value));
  if (view.getUint32(0, true) !== END64_SIGNATURE || !safe) {
    throw new InvalidFileError(source.name, 'damaged zip archive: its ZIP64 end record cannot be read');
  }
  return { count, size, offset };
}
