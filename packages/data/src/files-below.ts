import { type Dirent, readdirSync, realpathSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { InvalidFileError, readingBudget } from '@mezzotint/core';
import { systemProblem } from '@mezzotint/core/node';

/** Endings of the names of pictures that are read, in small letters. */
export const IMAGE_ENDINGS: readonly string[] = ['.png', '.jpg', '.jpeg', '.webp'];

/** The ending of a name in small letters, with its dot; '' for none. */
export function endingOf(name: string): string {
  return extname(name).toLowerCase();
}

/** What is below a folder: names with `/`, hidden ones left out, those of each folder sorted by code units. */
export interface FilesBelow {
  readonly files: readonly string[];
  readonly folders: readonly string[];
}

/**
 * Goes through a folder and those inside it; links to files and folders are followed.
 *
 * @throws InvalidFileError when a folder cannot be read, a link leads back to a folder above it, or there is more than `readingBudget` allows
 */
export function filesBelow(root: string): FilesBelow {
  const files: string[] = [];
  const folders: string[] = [];
  let left: number = readingBudget.folderEntries;
  const walk = (folder: string, above: readonly string[]): void => {
    const path = join(root, folder);
    const here = onDisk(path, () => realpathSync(path));
    if (above.includes(here)) throw new InvalidFileError(path, 'is a link that leads back to a folder above it');
    if (above.length > readingBudget.folderDepth) {
      throw new InvalidFileError(path, `is more than ${readingBudget.folderDepth} folders deep`);
    }
    const entries = onDisk(path, () => readdirSync(path, { withFileTypes: true }));
    left -= entries.length;
    if (left < 0) {
      throw new InvalidFileError(path, `with it more than ${readingBudget.folderEntries} files and folders were found`);
    }
    for (const entry of entries.filter(({ name }) => !name.startsWith('.')).sort((a, b) => byName(a.name, b.name))) {
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (!isFolder(path, entry)) files.push(name);
      else {
        folders.push(name);
        walk(name, [...above, here]);
      }
    }
  };
  walk('', []);
  return { files, folders };
}

/** By code units: the same order on every machine. */
export function byName(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What the system says of a path. @throws InvalidFileError with the path and the reason */
export function onDisk<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'no such folder or file' : (systemProblem(code) ?? message);
    throw new InvalidFileError(path, reason, { cause: error });
  }
}

/** A link that leads nowhere is a file that cannot be read, and is named as such when it should be a picture. */
function isFolder(path: string, entry: Dirent): boolean {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return statSync(join(path, entry.name), { throwIfNoEntry: false })?.isDirectory() ?? false;
}
