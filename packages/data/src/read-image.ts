import { open } from 'node:fs/promises';
import { InvalidFileError } from '@mezzotint/core';
import type { Bitmap } from './bitmap.js';
import { type DecodeOptions, decodeImage } from './decode-image.js';
import { isPng, type PngText, readText } from './png-text.js';

/** Largest image file that is read. */
const MAX_FILE_BYTES = 2 ** 28;

/**
 * Reads a PNG or JPEG file.
 *
 * @throws InvalidFileError when it cannot be read, is larger than 256 MiB, or as {@link decodeImage}
 */
export async function readImage(path: string, options: DecodeOptions = {}): Promise<Bitmap> {
  return decodeImage(await readImageBytes(path), path, options);
}

/**
 * Reads the texts of a PNG file, such as the recipe that `writePng` put there.
 *
 * @throws InvalidFileError when it is not a PNG file or its chunks are damaged
 */
export async function readPngText(path: string): Promise<PngText> {
  const bytes = await readImageBytes(path);
  if (!isPng(bytes)) throw new InvalidFileError(path, 'not a PNG image');
  return readText(bytes, path);
}

/** The bytes of an image file, its size checked first. */
async function readImageBytes(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      if (size > MAX_FILE_BYTES)
        throw new InvalidFileError(path, `expected at most ${MAX_FILE_BYTES} bytes, got ${size}`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof InvalidFileError) throw error;
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const reason = code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'is a folder' : String(error);
    throw new InvalidFileError(path, reason, { cause: error });
  }
}
