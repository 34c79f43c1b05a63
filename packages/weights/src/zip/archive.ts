import { InvalidFileError, quoted, readingBudget } from '@mezzotint/core';
import type { ByteSource } from '../bytes/byte-source.js';
import { sliceSource } from '../bytes/slice.js';
import { LOCAL_SIZE, readCentralDirectory, type ZipEntry } from './central-directory.js';
import { crc32 } from './crc32.js';
import { inflate, inflateHead } from './inflate.js';

const LOCAL_SIGNATURE = 0x0403_4b50;

/** An open zip archive. */
export interface ZipArchive {
  readonly name: string;
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** A whole entry, unpacked, its checksum compared unless `checksum` is false. */
  read(entry: ZipEntry, options?: { readonly checksum?: boolean }): Promise<Uint8Array<ArrayBuffer>>;
  /** The first `length` bytes of an entry, or all where it has fewer, without unpacking the rest. */
  head(entry: ZipEntry, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** An entry's bytes by range: read in place when stored, unpacked into memory when not. Checksums are not compared. */
  open(entry: ZipEntry): Promise<ByteSource>;
}

/** Opens a zip archive by its central directory. Throws an InvalidFileError when it is none or is damaged. */
export async function openZip(source: ByteSource): Promise<ZipArchive> {
  const entries = await readCentralDirectory(source);

  /** The bytes of an entry as they stand in the file; its own header says where they start. */
  const packed = async (entry: ZipEntry): Promise<ByteSource> => {
    const label = `${source.name}/${entry.name}`;
    const view = new DataView((await source.read(entry.headerOffset, LOCAL_SIZE)).buffer);
    if (view.getUint32(0, true) !== LOCAL_SIGNATURE) {
      throw new InvalidFileError(source.name, `damaged zip archive: ${quoted(entry.name)} has no header`);
    }
    const start = entry.headerOffset + LOCAL_SIZE + view.getUint16(26, true) + view.getUint16(28, true);
    return sliceSource(source, start, entry.packedSize, label);
  };

  const read: ZipArchive['read'] = async (entry, { checksum = true } = {}) => {
    if (entry.method !== 0 && entry.size > readingBudget.unpackedBytes) {
      const problem = `claims to unpack to ${entry.size} bytes; at most ${readingBudget.unpackedBytes} are unpacked`;
      throw new InvalidFileError(`${source.name}/${entry.name}`, problem);
    }
    const bytes = await packed(entry);
    const raw = await bytes.read(0, bytes.size);
    const data = entry.method === 0 ? raw : await inflate(bytes.name, raw, entry.size);
    if (checksum && crc32(data) !== entry.crc) {
      throw new InvalidFileError(
        bytes.name,
        'its checksum (CRC-32) does not match: the file is damaged. If it was saved with checksums off, open it with { checksums: false }.',
      );
    }
    return data;
  };

  return {
    name: source.name,
    entries,
    read,
    head: async (entry, length) => {
      const bytes = await packed(entry);
      if (entry.method === 0) return bytes.read(0, Math.min(length, bytes.size));
      // Deflate never makes bytes many times more, so this much of them is enough for the head.
      const enough = Math.min(bytes.size, 2 * length + 2 ** 16);
      return inflateHead(bytes.name, await bytes.read(0, enough), Math.min(length, entry.size));
    },
    open: async (entry) => {
      if (entry.method === 0) return packed(entry);
      const data = await read(entry, { checksum: false });
      return { name: `${source.name}/${entry.name}`, size: data.byteLength, read: (at, n) => data.slice(at, at + n) };
    },
  };
}
