import { type Dirent, readdirSync, realpathSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { InvalidArgumentError, InvalidFileError, listed, readingBudget } from '@mezzotint/core';

/** Endings of the names of pictures that are read, in small letters. */
const ENDINGS: readonly string[] = ['.png', '.jpg', '.jpeg', '.webp'];

/**
 * Names of the PNG, JPEG and WebP files in a folder and in those below it, with `/` and sorted by code units: the same order on every
 * machine. Links to files and folders are followed; hidden ones are left out.
 *
 * @param onPassedOver told how many files of each other ending there are ('' for none), if there are any
 * @throws InvalidArgumentError when there is no such folder, or no picture in it; InvalidFileError when a link leads back to a
 *   folder above it, or there is more than `readingBudget` allows
 */
export function pictureFiles(
  folder: string,
  onPassedOver?: (endings: Readonly<Record<string, number>>) => void,
): string[] {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new InvalidArgumentError(folder, 'no such folder of images');
  }
  const files: string[] = [];
  const passedOver: Record<string, number> = Object.create(null);
  let left: number = readingBudget.folderEntries;
  const walk = (below: string, above: readonly string[]): void => {
    const path = join(folder, below);
    const here = realpathSync(path);
    if (above.includes(here)) throw new InvalidFileError(path, 'is a link that leads back to a folder above it');
    if (above.length > readingBudget.folderDepth) {
      throw new InvalidFileError(path, `is more than ${readingBudget.folderDepth} folders deep`);
    }
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (--left < 0) throw new InvalidFileError(folder, `holds more than ${readingBudget.folderEntries} files`);
      if (entry.name.startsWith('.')) continue;
      const name = below === '' ? entry.name : `${below}/${entry.name}`;
      const ending = extname(entry.name).toLowerCase();
      if (isFolder(path, entry)) walk(name, [...above, here]);
      else if (ENDINGS.includes(ending)) files.push(name);
      else passedOver[ending] = (passedOver[ending] ?? 0) + 1;
    }
  };
  walk('', []);
  if (files.length === 0) {
    const others = Object.entries(passedOver).map(([ending, count]) => `${count} ${ending || 'without an ending'}`);
    const there = others.length === 0 ? 'none' : `none; passed over: ${listed(others)}`;
    throw new InvalidArgumentError(folder, `expected ${ENDINGS.join(', ')} files, got ${there}`);
  }
  if (Object.keys(passedOver).length > 0) onPassedOver?.({ ...passedOver });
  return files.sort();
}

function isFolder(path: string, entry: Dirent): boolean {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return statSync(join(path, entry.name), { throwIfNoEntry: false })?.isDirectory() ?? false;
}
