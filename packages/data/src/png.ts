import { type WriteOptions, writeFileAtomically } from '@mezzotint/core/node';
import { encode } from 'fast-png';
import { type Bitmap, checkBitmap } from './bitmap.js';
import { type PngText, withText } from './png-text.js';

/** What goes into a PNG beside its pixels. */
export interface PngOptions {
  /** Texts by keyword, such as `{ recipe: JSON.stringify(...) }`. */
  readonly text?: PngText;
}

/**
 * A picture as the bytes of an 8-bit gray or RGB PNG. The same picture and text give the same bytes on every machine:
 * no time is written, and the compressor is plain JavaScript.
 *
 * @throws InvalidArgumentError when sizes and data do not agree, or for a keyword that PNG does not allow
 */
export function encodePng(picture: Bitmap, { text = {} }: PngOptions = {}): Uint8Array {
  checkBitmap('encodePng', picture);
  const { data, height, width, channels } = picture;
  return withText(encode({ data, height, width, channels, depth: 8 }, { zlib: { level: 9 } }), text);
}

/**
 * Writes a picture as PNG, whole or not at all. Refuses to replace a file unless `overwrite` is set.
 *
 * @throws InvalidArgumentError as {@link encodePng}; MezzotintError as {@link writeFileAtomically}
 */
export async function writePng(path: string, picture: Bitmap, options: PngOptions & WriteOptions = {}): Promise<void> {
  await writeFileAtomically(path, encodePng(picture, options), options);
}
