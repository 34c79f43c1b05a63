import { statSync } from 'node:fs';
import { InvalidArgumentError, listed } from '@mezzotint/core';
import { endingOf, filesBelow, IMAGE_ENDINGS } from './files-below.js';

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
  const all = filesBelow(folder).files;
  const isPicture = (name: string) => IMAGE_ENDINGS.includes(endingOf(name));
  const files = all.filter(isPicture);
  const passedOver = endingsOf(all.filter((name) => !isPicture(name)));
  if (files.length === 0) {
    throw new InvalidArgumentError(
      folder,
      `expected ${IMAGE_ENDINGS.join(', ')} files, got none${describeEndings(passedOver)}`,
    );
  }
  if (Object.keys(passedOver).length > 0) onPassedOver?.(passedOver);
  return files.sort();
}

/** How many files have which ending ('' for none). */
export function endingsOf(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = Object.create(null);
  for (const name of names) counts[endingOf(name)] = (counts[endingOf(name)] ?? 0) + 1;
  return { ...counts };
}

/** The same in words, as the end of a sentence; nothing for none. */
export function describeEndings(counts: Readonly<Record<string, number>>): string {
  const said = Object.entries(counts).map(([ending, count]) => `${count} ${ending || 'without an ending'}`);
  return said.length === 0 ? '' : `; passed over: ${listed(said, 20)}`;
}
