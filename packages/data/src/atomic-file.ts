import { link, lstat, open, rename, unlink } from 'node:fs/promises';
import { MezzotintError } from '@mezzotint/core';
import { outputPlace, systemProblem, temporaryName } from '@mezzotint/core/node';

/** How an output file may be written. */
export interface WriteOptions {
  /** Replace a file that exists. Default false: an existing file is an error. */
  readonly overwrite?: boolean;
}

/**
 * Writes a file whole or not at all: into a temporary file of the same folder, flushed to the disk, then given its name
 * in one step. Through a link the file that it leads to is written. What is no plain file is never replaced.
 *
 * @throws InvalidArgumentError when `path` is a folder, a device, a FIFO or a socket
 * @throws MezzotintError `MEZZOTINT_FILE_EXISTS` when the file exists and may not be replaced, `MEZZOTINT_WRITE_FAILED`
 *   when the folder is missing, the disk is full, and the like; the old file, if any, is untouched and no part is left
 */
export async function writeFileAtomically(
  path: string,
  bytes: Uint8Array,
  { overwrite = false }: WriteOptions = {},
): Promise<void> {
  const target = outputPlace(path);
  const temporary = temporaryName(target);
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    if (overwrite) await rename(temporary, target);
    else await nameOnce(temporary, target);
  } catch (error) {
    await unlink(temporary).catch(() => undefined); // it may never have come to be
    throw writeError(path, error);
  }
}

/** Gives `temporary` the name `path`, and fails with EEXIST when there is such a file. */
async function nameOnce(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (codeOf(error) === 'EEXIST' || codeOf(error) === 'ENOENT') throw error;
    // A file system without hard links: look, then rename.
    const exists = await lstat(path).then(
      () => true,
      () => false,
    );
    if (exists) throw Object.assign(new Error('file exists'), { code: 'EEXIST' });
    await rename(temporary, path);
    return;
  }
  await unlink(temporary);
}

function writeError(path: string, error: unknown): MezzotintError {
  const options = { cause: error };
  const code = codeOf(error);
  if (code === 'EEXIST') {
    const message = `${path}: the file exists and was left as it is; choose another name or allow overwriting`;
    return new MezzotintError('MEZZOTINT_FILE_EXISTS', message, { path }, options);
  }
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: 'its folder does not exist',
    ENOTDIR: 'its folder is not a folder',
    EISDIR: 'a folder has that name',
    ENOSPC: 'the disk is full',
    EDQUOT: 'the disk quota is used up',
    EACCES: 'no permission to write there',
    EPERM: 'no permission to write there',
    EROFS: 'the disk is read-only',
  };
  const reason = reasons[code ?? ''] ?? systemProblem(code) ?? (error instanceof Error ? error.message : String(error));
  return new MezzotintError('MEZZOTINT_WRITE_FAILED', `${path}: not written: ${reason}`, { path, reason }, options);
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
