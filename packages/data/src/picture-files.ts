import { readdirSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';

/**
 * The PNG and JPEG files of a folder and of the folders in it, as paths below it, sorted by code units, so the same everywhere.
 * Hidden ones are passed over.
 *
 * @throws InvalidArgumentError when there is no such folder, or no picture in it
 */
export function pictureFiles(folder: string): string[] {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new InvalidArgumentError(folder, 'no such folder of images');
  }
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const files = names.filter((name) => {
    const shown = !name.split(/[/\\]/).some((part) => part.startsWith('.'));
    const pictured = ['.png', '.jpg', '.jpeg'].includes(extname(name).toLowerCase());
    return shown && pictured && statSync(join(folder, name), { throwIfNoEntry: false })?.isFile();
  });
  if (files.length === 0) throw new InvalidArgumentError(folder, 'expected .png, .jpg or .jpeg files, got none');
  return files.sort();
}
