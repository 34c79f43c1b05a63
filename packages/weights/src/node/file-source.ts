import { closeSync, read, readSync } from 'node:fs';
import { promisify } from 'node:util';
import { MezzotintError } from '@mezzotint/core';
import { openPlainFile } from '@mezzotint/core/node';
import { type ByteSource, checkRange, type SyncByteSource, shortRead } from '../bytes/byte-source.js';

/** One read takes at most this much: Node and some systems stop at 2 GiB. */
const MAX_CHUNK = 2 ** 30;

/** Ranges of this size or more are read in two halves at once. */
const WORTH_HALVING = 2 ** 20;

const readLater = promisify(read);

/** An open file. */
export interface FileSource extends SyncByteSource {
  /**
   * `read` on other threads, two for a large range: most of the time goes into fresh memory, whose pages the system
   * hands out and fills on the thread that asks.
   */
  readConcurrently(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Closes the file; reading after it throws. May be called more than once. */
  close(): void;
}

/** Closes the files of sources that were forgotten. */
const forgotten = new FinalizationRegistry<{ handle: number | undefined }>((state) => {
  if (state.handle !== undefined) closeSync(state.handle);
});

/**
 * Opens a file for reading by range. The handle is held, so a file that is replaced meanwhile is read to its end in the
 * version that was opened. Throws an InvalidFileError when it cannot be opened or is not a plain file.
 */
export function openFile(path: string): FileSource {
  const { handle, size } = openPlainFile(path);
  const state: { handle: number | undefined } = { handle };
  /** The open handle, when the range lies in the file. */
  const handleFor = (offset: number, length: number): number => {
    if (state.handle === undefined) {
      throw new MezzotintError('MEZZOTINT_CLOSED', `${path}: was closed; open it again to read more`, { file: path });
    }
    checkRange(path, size, offset, length);
    return state.handle;
  };
  const source: FileSource = {
    name: path,
    size,
    read: (offset, length) => {
      const handle = handleFor(offset, length);
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const got = readSync(handle, bytes, done, Math.min(length - done, MAX_CHUNK), offset + done);
        if (got === 0) throw shortRead(path, offset, length, done);
        done += got;
      }
      return bytes;
    },
    readConcurrently: async (offset, length) => {
      handleFor(offset, length);
      const bytes = new Uint8Array(length);
      const fill = async (from: number, to: number): Promise<void> => {
        for (let done = from; done < to; ) {
          // Asked for again each time: the file may have been closed meanwhile.
          const handle = handleFor(offset, length);
          const { bytesRead } = await readLater(handle, bytes, done, Math.min(to - done, MAX_CHUNK), offset + done);
          if (bytesRead === 0) throw shortRead(path, offset, length, done);
          done += bytesRead;
        }
      };
      const half = length < WORTH_HALVING ? length : Math.floor(length / 2);
      await Promise.all([fill(0, half), fill(half, length)]);
      return bytes;
    },
    close: () => {
      if (state.handle === undefined) return;
      closeSync(state.handle);
      state.handle = undefined;
      forgotten.unregister(source);
    },
  };
  forgotten.register(source, state, source);
  return source;
}

/** Opens a file, read by more than one thread, and what `use` makes of it; closes the file when that fails. */
export async function openWith<T>(path: string, use: (file: ByteSource & { close(): void }) => Promise<T>): Promise<T> {
  const file = openFile(path);
  try {
    return await use({ ...file, read: file.readConcurrently });
  } catch (error) {
    file.close();
    throw error;
  }
}
