import { InvalidFileError } from '@mezzotint/core';

/** Bytes that are read by range: a file, a `Blob`, an array, a slice of a remote object. */
export interface ByteSource {
  /** What it is called in errors, for example the file's path. */
  readonly name: string;
  /** Number of bytes. */
  readonly size: number;
  /** A fresh copy of `length` bytes from `offset`, starting at offset 0 of its own buffer. Throws when they are not there. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>;
}

/** A byte source that answers at once. */
export interface SyncByteSource extends ByteSource {
  read(offset: number, length: number): Uint8Array<ArrayBuffer>;
}

/** Bytes in memory. The array is not copied until it is read. */
export function bytesSource(bytes: Uint8Array, name = 'bytes'): SyncByteSource {
  return {
    name,
    size: bytes.byteLength,
    read: (offset, length) => {
      checkRange(name, bytes.byteLength, offset, length);
      return new Uint8Array(bytes.subarray(offset, offset + length));
    },
  };
}

/** A `Blob` or a browser's `File`: only the ranges that are asked for are read. */
export function blobSource(blob: Blob, name = 'blob'): ByteSource {
  return {
    name,
    size: blob.size,
    read: async (offset, length) => {
      checkRange(name, blob.size, offset, length);
      const bytes = new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      if (bytes.byteLength !== length) throw shortRead(name, offset, length, bytes.byteLength);
      return bytes;
    },
  };
}

/** Throws an InvalidFileError unless `offset .. offset + length` lies within `size` bytes. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!whole || offset + length > size) {
    throw new InvalidFileError(name, `bytes ${offset} to ${offset + length} do not exist; the file has ${size} bytes`);
  }
}

/** The error for a file that became shorter while it was open. */
export function shortRead(name: string, offset: number, wanted: number, got: number): InvalidFileError {
  return new InvalidFileError(
    name,
    `expected ${wanted} bytes at ${offset}, got ${got}; was the file changed while it was read?`,
  );
}
