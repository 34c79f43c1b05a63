import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { InvalidFileError } from '../errors.js';

/** One read takes at most this much: Node and some systems stop at 2 GiB. */
const CHUNK = 2 ** 24;

/**
 * Opens a plain file for reading. A FIFO, a device, a socket or a folder is refused before anything is opened or read: they
 * wait for ever, have no end, or do something when they are opened. The caller closes the handle.
 *
 * @throws InvalidFileError that says what is there instead
 */
export function openPlainFile(path: string): { readonly handle: number; readonly size: number } {
  return explained(path, () => {
    checkPlain(path, statSync(path));
    const handle = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const stat = fstatSync(handle); // Another file may have taken the name since.
      checkPlain(path, stat);
      return { handle, size: stat.size };
    } catch (error) {
      closeSync(handle);
      throw error;
    }
  });
}

/**
 * The bytes of a plain file of at most `limit` bytes. The size is checked before anything is read, and while reading, since
 * some files say that they are empty and are not.
 *
 * @throws InvalidFileError when it is not there, is not a plain file, or is longer
 */
export function readPlainFile(path: string, limit: number): Uint8Array<ArrayBuffer> {
  const { handle, size } = openPlainFile(path);
  try {
    if (size > limit) throw new InvalidFileError(path, `has ${size} bytes, expected at most ${limit}`);
    const bytes = new Uint8Array(size + 1); // One more, to see whether it has grown.
    let done = 0;
    let all = bytes;
    for (;;) {
      const got = explained(path, () => readSync(handle, all, done, Math.min(all.length - done, CHUNK), done));
      if (got === 0) return all.slice(0, done);
      done += got;
      if (done > limit) throw new InvalidFileError(path, `has more than ${limit} bytes`);
      if (done === all.length) {
        const longer = new Uint8Array(Math.min(2 * all.length + CHUNK, limit + 1));
        longer.set(all);
        all = longer;
      }
    }
  } finally {
    closeSync(handle);
  }
}

/** The text of a plain file of at most `limit` bytes, as UTF-8 without a byte order mark. Throws as {@link readPlainFile}. */
export function readPlainText(path: string, limit: number): string {
  const bytes = readPlainFile(path, limit);
  // Editors of Windows put the mark before the first line.
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    .toString('utf8')
    .replace(/^\uFEFF/, '');
}

interface Stat {
  isFile(): boolean;
  isDirectory(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
}

function checkPlain(path: string, stat: Stat): void {
  if (!stat.isFile()) throw new InvalidFileError(path, `is ${kindOf(stat)}; expected a plain file`);
}

/** What is in the place of a plain file. */
export function kindOf(stat: Stat): string {
  if (stat.isDirectory()) return 'a folder';
  if (stat.isFIFO()) return 'a FIFO (named pipe)';
  return stat.isSocket() ? 'a socket' : 'a device';
}

/** What the operating system's codes mean for the one who named a file or a folder; undefined for a code that is not known. */
export function systemProblem(code: string | undefined): string | undefined {
  return code !== undefined && Object.hasOwn(PROBLEMS, code) ? PROBLEMS[code] : undefined;
}

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'may not be opened (no permission)',
  EPERM: 'may not be opened (no permission)',
  EISDIR: 'is a folder, a file was expected',
  ENOTDIR: 'is below a file, where a folder was expected',
  ELOOP: 'is a link that leads back to itself',
  ENAMETOOLONG: 'the name is too long',
  EINVAL: 'cannot be read there',
  ENXIO: 'is a device or a pipe without another end',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
  EAGAIN: 'has no bytes yet; expected a plain file',
  EEXIST: 'exists already',
  ENOSPC: 'the disk is full; nothing that was there before is lost',
  EDQUOT: 'the disk quota is used up; nothing that was there before is lost',
  EROFS: 'the disk is read-only',
  EFBIG: 'the file would be too large',
};

/** Runs a call of `node:fs`; its errors become InvalidFileErrors that name the file. */
function explained<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    if (InvalidFileError.isInstance(cause)) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new InvalidFileError(path, systemProblem(code) ?? message, { cause });
  }
}
