import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { InvalidArgumentError, InvalidFileError, listed, readingBudget } from '@mezzotint/core';
import { systemProblem } from '@mezzotint/core/node';
import type { Bitmap } from './bitmap.js';
import { withChannels } from './decode-image.js';
import type { ImageSet } from './image-set.js';
import { useImageFile } from './read-image.js';
import type { ResizeFilter } from './resample-weights.js';
import { resizeWindow } from './resize.js';

/** How a folder of images is read. */
export interface FolderOptions {
  /** Height and width that every image gets, in pixels. */
  readonly size: number;
  /** 1 for gray, 3 for RGB. */
  readonly channels: 1 | 3;
  /** Default bicubic. */
  readonly filter?: ResizeFilter;
  /** Most pixels of one file, checked before it is decoded. Default 2^26. */
  readonly maxPixels?: number;
  /** Most bytes of the whole set in memory. Default 2 GiB. */
  readonly maxBytes?: number;
  /** Told after each image how many of how many are read. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** A folder's images, and what else was there. */
export interface FolderImages extends ImageSet {
  /**
   * Files that are no images here, by the ending of their names (`.bmp`, `.txt`, '' for none), and how many of each; hidden
   * files are not counted. Tell the user, who may have expected those pictures in the set.
   */
  readonly passedOver: Readonly<Record<string, number>>;
}

/** Files decoded at a time; the decoder itself runs on its own threads. */
const AT_ONCE = 4;
/** Endings of the names of images, in small letters. */
const IMAGE_ENDINGS = ['.png', '.jpg', '.jpeg', '.webp'];
/** Files named in one error. */
const NAMED_PROBLEMS = 20;

/**
 * Reads a folder of labelled images into memory: each folder directly inside `path` is a class, classes and files are
 * sorted by name (code units, so the same everywhere), and the PNG, JPEG and WebP files of a class, those in folders inside it
 * too, are its images. Links to files and folders are followed. The shorter side is resized to `size` with antialiasing and
 * the middle is cut out. Files of other kinds are passed over and counted.
 *
 * @throws InvalidArgumentError when there is no image, or the set would not fit in `maxBytes`
 * @throws InvalidFileError when a link leads back to a folder above it, or files are not what they claim, all of them named
 *   at once
 */
export async function imageFolder(path: string, options: FolderOptions): Promise<FolderImages> {
  const { size, channels, filter = 'bicubic', maxPixels, maxBytes = 2 ** 31, onProgress } = options;
  checkOptions(size, channels);
  const { classes, files, passedOver } = await list(path);
  const bytes = size * size * channels;
  if (files.length * bytes > maxBytes) {
    const problem = `${files.length} images of ${size} x ${size} x ${channels} take ${files.length * bytes} bytes, more than maxBytes = ${maxBytes}; take a smaller size`;
    throw new InvalidArgumentError('imageFolder', problem);
  }
  const images = new Uint8Array(files.length * bytes);
  const problems: (string | undefined)[] = [];
  let next = 0;
  let done = 0;
  const work = async () => {
    for (let i = next++; i < files.length; i = next++) {
      try {
        await useImageFile(files[i]!.path, maxPixels === undefined ? {} : { maxPixels }, (image) => {
          // Colour becomes gray before it is resized, as in Pillow; gray is repeated after, which is the same and less.
          const square = fillSquare(channels === 1 ? withChannels(image, 1) : image, size, filter);
          images.set(withChannels(square, channels).data, i * bytes);
        });
      } catch (error) {
        if (!InvalidFileError.isInstance(error)) throw error;
        problems[i] = error.message;
      }
      onProgress?.(++done, files.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  throwAll(path, problems);
  const labels = Int32Array.from(files, (file) => file.label);
  return { images, labels, classes, count: files.length, height: size, width: size, channels, passedOver };
}

/** The middle square of an image, `size` pixels wide: the shorter side becomes `size`, the longer one is cut. */
function fillSquare(image: Bitmap, size: number, filter: ResizeFilter): Bitmap {
  const shorter = Math.min(image.height, image.width);
  const height = Math.floor((size * image.height) / shorter);
  const width = Math.floor((size * image.width) / shorter);
  const [top, left] = [Math.round((height - size) / 2), Math.round((width - size) / 2)];
  return resizeWindow(image, { height, width }, { top, left, height: size, width: size }, filter);
}

interface LabelledFile {
  readonly path: string;
  readonly label: number;
}

interface Listing {
  readonly classes: string[];
  readonly files: LabelledFile[];
  readonly passedOver: Record<string, number>;
}

/** Classes and image files of a folder, both sorted. */
async function list(path: string): Promise<Listing> {
  const passedOver: Record<string, number> = Object.create(null);
  const budget = { entries: readingBudget.folderEntries };
  const above = [await place(path)];
  const classes: string[] = [];
  for (const { name, isFolder } of await entriesOf(path, budget)) {
    if (isFolder) classes.push(name);
    else passOver(passedOver, name);
  }
  const files: LabelledFile[] = [];
  const empty: string[] = [];
  for (const [label, name] of classes.entries()) {
    const inside = await imagesBelow(join(path, name), above, budget, passedOver);
    if (inside.length === 0) empty.push(name);
    for (const file of inside.sort(byCodeUnits)) files.push({ path: file, label });
  }
  if (classes.length === 0 || empty.length > 0) {
    const found =
      classes.length === 0
        ? 'no folder inside'
        : `no ${IMAGE_ENDINGS.join(', ')} file in: ${listed(empty, NAMED_PROBLEMS)}`;
    throw new InvalidArgumentError(
      'imageFolder',
      `${path}: expected one folder of images for each class, got ${found}${countsOf(passedOver)}`,
    );
  }
  return { classes, files, passedOver: { ...passedOver } };
}

/** Paths of all images in a folder and in those inside it. `above` are the folders on the way there. */
async function imagesBelow(
  path: string,
  above: readonly string[],
  budget: { entries: number },
  passedOver: Record<string, number>,
): Promise<string[]> {
  const here = await place(path);
  if (above.includes(here)) throw new InvalidFileError(path, 'is a link that leads back to a folder above it');
  if (above.length > readingBudget.folderDepth) {
    throw new InvalidFileError(path, `is more than ${readingBudget.folderDepth} folders deep`);
  }
  const found: string[] = [];
  for (const { name, isFolder } of await entriesOf(path, budget)) {
    if (isFolder) {
      for (const one of await imagesBelow(join(path, name), [...above, here], budget, passedOver)) found.push(one);
    } else if (IMAGE_ENDINGS.includes(extname(name).toLowerCase())) found.push(join(path, name));
    else passOver(passedOver, name);
  }
  return found;
}

function passOver(passedOver: Record<string, number>, name: string): void {
  const ending = extname(name).toLowerCase();
  passedOver[ending] = (passedOver[ending] ?? 0) + 1;
}

/** What is in a folder, hidden entries left out, sorted; a link to a folder is a folder. */
async function entriesOf(path: string, budget: { entries: number }): Promise<{ name: string; isFolder: boolean }[]> {
  const entries = await onDisk(path, () => readdir(path, { withFileTypes: true }));
  budget.entries -= entries.length;
  if (budget.entries < 0) {
    throw new InvalidFileError(path, `with it more than ${readingBudget.folderEntries} files and folders were found`);
  }
  const shown = entries.filter((entry) => !entry.name.startsWith('.')).sort((a, b) => byCodeUnits(a.name, b.name));
  return Promise.all(shown.map(async (entry) => ({ name: entry.name, isFolder: await isFolder(path, entry) })));
}

async function isFolder(path: string, entry: Dirent): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  // A link that leads nowhere is a file that cannot be read, and is named as such when it should be an image.
  return (await stat(join(path, entry.name)).catch(() => undefined))?.isDirectory() ?? false;
}

/** Where a folder is, links resolved. */
function place(path: string): Promise<string> {
  return onDisk(path, () => realpath(path));
}

async function onDisk<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason =
      code === 'ENOENT' ? 'no such folder' : code === 'ENOTDIR' ? 'not a folder' : (systemProblem(code) ?? message);
    throw new InvalidFileError(path, reason, { cause: error });
  }
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function countsOf(passedOver: Readonly<Record<string, number>>): string {
  const counts = Object.entries(passedOver).map(([ending, count]) => `${count} ${ending || 'without an ending'}`);
  return counts.length === 0 ? '' : `; passed over: ${listed(counts, NAMED_PROBLEMS)}`;
}

function throwAll(path: string, problems: readonly (string | undefined)[]): void {
  const found = problems.filter((problem) => problem !== undefined);
  if (found.length === 0) return;
  const more = found.length > NAMED_PROBLEMS ? [`… and ${found.length - NAMED_PROBLEMS} more`] : [];
  const lines = [...found.slice(0, NAMED_PROBLEMS), ...more].map((line) => `\n  ${line}`);
  throw new InvalidFileError(path, `${found.length} of its files cannot be used:${lines.join('')}`);
}

function checkOptions(size: number, channels: number): void {
  const problems = [];
  if (!Number.isInteger(size) || size < 1) problems.push(`expected size to be a positive integer, got ${size}`);
  if (channels !== 1 && channels !== 3) problems.push(`expected channels to be 1 or 3, got ${channels}`);
  if (problems.length > 0) throw new InvalidArgumentError('imageFolder', problems);
}
