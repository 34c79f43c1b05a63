import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { InvalidArgumentError, MezzotintError } from '../errors.js';
import { outputPlace, temporaryName } from './output-place.js';
import { systemProblem } from './plain-file.js';

/** How an output file may be written. */
export interface WriteOptions {
  /** Replace a file that exists. Default false: an existing file is an error. */
  readonly overwrite?: boolean;
}

/** Appends bytes to the file that is being written. */
export type Append = (bytes: Uint8Array) => void;

/**
 * Writes a file all or nothing: into a temporary file of the same folder, flushed to the disk, then renamed. Whatever
 * happens meanwhile (an error, a full disk, `kill -9`, loss of power), `path` is the old file or the whole new one. A
 * killed process leaves a hidden `.<name>.<random>.tmp` behind, nothing else does. Through a link the file that it leads to
 * is written; a device, a FIFO or a socket is never replaced.
 *
 * @param content the bytes, or a function that appends them one after the other
 * @throws InvalidArgumentError when `path` exists and `overwrite` is not true, or is no plain file; MezzotintError with the code
 *   `MEZZOTINT_WRITE_FAILED` when the disk is full or refuses
 */
export async function writeFileAtomically(
  path: string,
  content: Uint8Array | ((append: Append) => void | Promise<void>),
  { overwrite = false }: WriteOptions = {},
): Promise<void> {
  if (!overwrite && existsSync(path)) throw exists(path);
  const target = outputPlace(path);
  const folder = dirname(target);
  const temporary = temporaryName(target);
  let handle: number | undefined;
  try {
    handle = onDisk(path, () => openSync(temporary, 'wx', 0o666));
    const open = handle;
    const append: Append = (bytes) => onDisk(path, () => appendAll(open, bytes));
    if (typeof content === 'function') await content(append);
    else append(content);
    onDisk(path, () => fsyncSync(open));
    onDisk(path, () => closeSync(open));
    handle = undefined;
    if (overwrite) onDisk(path, () => renameSync(temporary, target));
    else publish(temporary, target);
    syncFolder(folder);
  } finally {
    if (handle !== undefined) closeSync(handle);
    if (existsSync(temporary)) rmSync(temporary, { force: true });
  }
}

function appendAll(handle: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) {
    done += writeSync(handle, bytes, done, Math.min(bytes.byteLength - done, 2 ** 30));
  }
}

/** Gives the file its name unless the name was taken meanwhile, in one step where the file system has hard links. */
function publish(temporary: string, path: string): void {
  try {
    linkSync(temporary, path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST' || existsSync(path)) throw exists(path);
    onDisk(path, () => renameSync(temporary, path));
  }
}

/** The rename itself must reach the disk; some systems cannot open folders, and then do not need it. */
function syncFolder(folder: string): void {
  let handle: number | undefined;
  try {
    handle = openSync(folder, 'r');
    fsyncSync(handle);
  } catch {
    // Not supported here (Windows): the file's own bytes are on the disk already.
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

function onDisk<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new MezzotintError(
      'MEZZOTINT_WRITE_FAILED',
      `${path}: ${explain(code)}; nothing was changed.`,
      { file: path, code },
      { cause },
    );
  }
}

function explain(code: string): string {
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'the disk is full, free some space and try again';
    case 'ENOENT':
      return 'the folder does not exist, create it first';
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `may not be written (${code})`;
    case 'EISDIR':
      return 'is a folder';
    case 'ENOTDIR':
      return 'its folder is not a folder';
    default:
      return systemProblem(code) ?? `could not be written (${code})`;
  }
}

function exists(path: string): InvalidArgumentError {
  return new InvalidArgumentError(path, 'exists already; choose another name or allow overwriting it');
}
