import { readdir } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import type { Bitmap } from './bitmap.js';
import type { ImageSet } from './image-set.js';
import { readImage } from './read-image.js';
import type { ResizeFilter } from './resample-weights.js';
import { type ImageSize, resize } from './resize.js';

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

/** Files decoded at a time; the decoder itself runs on its own threads. */
const AT_ONCE = 4;
/** Files named in one error. */
const NAMED_PROBLEMS = 20;

/**
 * Reads a folder of labelled images into memory: each folder directly inside `path` is a class, classes and files are
 * sorted by name (code units, so the same everywhere), and the PNG and JPEG files of a class are its images. The shorter
 * side is resized to `size` with antialiasing and the middle is cut out. Files of other kinds and hidden files are passed over.
 *
 * @throws InvalidArgumentError when there is no image, or the set would not fit in `maxBytes`
 * @throws InvalidFileError when files are not what they claim, all of them named at once
 */
export async function imageFolder(path: string, options: FolderOptions): Promise<ImageSet> {
  const { size, channels, filter = 'bicubic', maxPixels, maxBytes = 2 ** 31, onProgress } = options;
  checkOptions(size, channels);
  const { classes, files } = await list(path);
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
        const image = await readImage(files[i]!.path, maxPixels === undefined ? { channels } : { channels, maxPixels });
        images.set(fillSquare(image, size, filter).data, i * bytes);
      } catch (error) {
        if (!(error instanceof InvalidFileError)) throw error;
        problems[i] = error.message;
      }
      onProgress?.(++done, files.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  throwAll(path, problems);
  const labels = Int32Array.from(files, (file) => file.label);
  return { images, labels, classes, count: files.length, height: size, width: size, channels };
}

/** The middle square of an image, `size` pixels wide: the shorter side becomes `size`, the longer one is cut. */
function fillSquare(image: Bitmap, size: number, filter: ResizeFilter): Bitmap {
  const shorter = Math.min(image.height, image.width);
  const scaled: ImageSize = {
    height: Math.floor((size * image.height) / shorter),
    width: Math.floor((size * image.width) / shorter),
  };
  const resized = resize(image, scaled, filter);
  const top = Math.round((scaled.height - size) / 2);
  const left = Math.round((scaled.width - size) / 2);
  const row = size * image.channels;
  const data = new Uint8Array(size * row);
  for (let y = 0; y < size; y++) {
    const from = ((top + y) * scaled.width + left) * image.channels;
    data.set(resized.data.subarray(from, from + row), y * row);
  }
  return { data, height: size, width: size, channels: image.channels };
}

interface LabelledFile {
  readonly path: string;
  readonly label: number;
}

/** Classes and image files of a folder, both sorted. */
async function list(path: string): Promise<{ classes: string[]; files: LabelledFile[] }> {
  const entries = await entriesOf(path);
  const classes = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  const files: LabelledFile[] = [];
  const empty: string[] = [];
  for (const [label, name] of classes.entries()) {
    const inside = (await entriesOf(join(path, name))).filter(
      (entry) => !entry.isDirectory() && isImageName(entry.name),
    );
    if (inside.length === 0) empty.push(name);
    for (const entry of inside) files.push({ path: join(path, name, entry.name), label });
  }
  if (classes.length === 0 || empty.length > 0) {
    const found =
      classes.length === 0
        ? 'no folder inside'
        : `no .png, .jpg or .jpeg file in: ${empty.slice(0, NAMED_PROBLEMS).join(', ')}`;
    throw new InvalidArgumentError(
      'imageFolder',
      `${path}: expected one folder of images for each class, got ${found}`,
    );
  }
  return { classes, files };
}

/** What is in a folder, hidden entries left out, sorted by code units. */
async function entriesOf(path: string) {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.filter((entry) => !entry.name.startsWith('.')).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const reason = code === 'ENOENT' ? 'no such folder' : code === 'ENOTDIR' ? 'not a folder' : String(error);
    throw new InvalidFileError(path, reason, { cause: error });
  }
}

function isImageName(name: string): boolean {
  return ['.png', '.jpg', '.jpeg'].includes(extname(name).toLowerCase());
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
