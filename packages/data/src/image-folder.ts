import { InvalidArgumentError, InvalidFileError, listed } from '@mezzotint/core';
import type { Bitmap } from './bitmap.js';
import { classesOf, exampleBytes, type Found, findPictures, pathOf } from './dataset.js';
import { useImage, withChannels } from './decode-image.js';
import { byName, IMAGE_ENDINGS } from './files-below.js';
import type { ImageSet } from './image-set.js';
import { describeEndings, endingsOf } from './picture-files.js';
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
/** Files named in one error. */
const NAMED_PROBLEMS = 20;

/**
 * Reads labelled images into memory, found as {@link openDataset} finds them: each folder directly inside `path` is a class, with the PNG,
 * JPEG and WebP files in it and in folders inside it, unless a `metadata.jsonl` or the tar shards of WebDataset say the classes. Classes are sorted by name, or by
 * number where all are numbers, the files of a class by name (code units, so the same everywhere). Links to files and folders are followed. The shorter
 * side is resized to `size` with antialiasing and the middle is cut out. Files of other kinds, and images beside the folders of the classes, are
 * passed over and counted.
 *
 * @throws InvalidArgumentError when there is no image, a folder has none, or the set would not fit in `maxBytes`
 * @throws InvalidFileError when a link leads back to a folder above it, or files are not what they claim, all of them named
 *   at once
 */
export async function imageFolder(path: string, options: FolderOptions): Promise<FolderImages> {
  const { size, channels, filter = 'bicubic', maxPixels, maxBytes = 2 ** 31, onProgress } = options;
  checkOptions(size, channels);
  const { classes, files, passedOver } = await labelled(path);
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
        const encoded = await exampleBytes(files[i]!);
        await useImage(encoded, pathOf(files[i]!), maxPixels === undefined ? {} : { maxPixels }, (image) => {
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

/** The pictures of a folder, those of a class sorted by name; those that are beside the folders of the classes are of none. */
async function labelled(path: string) {
  const { found, skipped, folders } = await findPictures(path);
  const has = ({ name, className }: Found) => className !== undefined || name.includes('/');
  const inside = found.filter(has);
  const beside = found.filter((one) => !has(one)).map(({ name }) => name);
  const passedOver = endingsOf([...skipped.files, ...beside]);
  const { classes, index } = classesOf(path, inside, 'auto');
  const folderOf = (name: string) => name.slice(0, Math.max(name.indexOf('/'), 0));
  const byFolder = inside.every(({ name, className }) => className === folderOf(name));
  const full = new Set(inside.map(({ name }) => folderOf(name)));
  const empty = byFolder ? folders.filter((name) => !name.includes('/') && !full.has(name)) : [];
  if (classes.length === 0 || empty.length > 0) {
    const got =
      empty.length === 0
        ? 'no folder inside'
        : `no ${IMAGE_ENDINGS.join(', ')} file in: ${listed(empty, NAMED_PROBLEMS)}`;
    throw new InvalidArgumentError(
      'imageFolder',
      `${path}: expected one folder of images for each class, got ${got}${describeEndings(passedOver)}`,
    );
  }
  const files = inside
    .map(({ name, source, className }) => ({ name, source, label: index.get(className!)! }))
    .sort((a, b) => a.label - b.label || byName(a.name, b.name));
  return { classes, files, passedOver };
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
