import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { relative, resolve } from 'node:path';

/** Notes which files of each path were read. */
export interface ReadFiles {
  /** Notes a file that lies in a path (a folder or the file itself). */
  note(path: string, file: string): void;
  /** Fingerprints of the paths: of the files that were read, no others. */
  fingerprints(): Record<string, string>;
}

/** Nothing was read yet. */
export function readFiles(): ReadFiles {
  const read = new Map<string, Set<string>>();
  return {
    note(path, file) {
      read.set(path, (read.get(path) ?? new Set()).add(resolve(file)));
    },
    fingerprints: () => Object.fromEntries([...read].map(([path, files]) => [path, fingerprint(path, files)])),
  };
}

/**
 * A name for what is in files: SHA-256 of names, and of each file's size and first and last mebibyte. The whole of a model would
 * take longer to hash than to load.
 */
export function fingerprint(path: string, files: Iterable<string>): string {
  const hash = createHash('sha256');
  for (const file of [...files].sort()) hash.update(`${relative(path, file)}\0`).update(ends(file));
  return hash.digest('hex');
}

const END_BYTES = 2 ** 20;

function ends(file: string): Buffer {
  const { size } = statSync(file);
  if (size <= 2 * END_BYTES) return readFileSync(file);
  const bytes = Buffer.alloc(2 * END_BYTES + 8);
  const handle = openSync(file, 'r');
  try {
    readSync(handle, bytes, 0, END_BYTES, 0);
    readSync(handle, bytes, END_BYTES, END_BYTES, size - END_BYTES);
  } finally {
    closeSync(handle);
  }
  bytes.writeBigUInt64LE(BigInt(size), 2 * END_BYTES);
  return bytes;
}
