import { InvalidFileError, readingBudget } from '@mezzotint/core';
import { readPlainFile } from '@mezzotint/core/node';
import type { Bitmap } from './bitmap.js';
import { type DecodeOptions, useImage } from './decode-image.js';
import { isPng, type PngText, readText } from './png-text.js';

/**
 * Reads a PNG, JPEG or WebP file.
 *
 * @throws InvalidFileError when it cannot be read, is no plain file, is larger than 128 MiB, or as {@link decodeImage}
 */
export function readImage(path: string, options: DecodeOptions = {}): Promise<Bitmap> {
  return useImageFile(path, options, (image) => image);
}

/** Reads a picture and uses it while its memory is still counted. */
export async function useImageFile<T>(path: string, options: DecodeOptions, use: (image: Bitmap) => T): Promise<T> {
  return useImage(readPlainFile(path, readingBudget.imageFileBytes), path, options, use);
}

/**
 * Reads the texts of a PNG file, such as the recipe that `writePng` put there.
 *
 * @throws InvalidFileError when it is not a PNG file or its chunks are damaged
 */
export async function readPngText(path: string): Promise<PngText> {
  const bytes = readPlainFile(path, readingBudget.imageFileBytes);
  if (!isPng(bytes)) throw new InvalidFileError(path, 'not a PNG image');
  return readText(bytes, path);
}
