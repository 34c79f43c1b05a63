import { InvalidFileError } from '@mezzotint/core';
import type { Bitmap } from './bitmap.js';
import { isPng } from './png-text.js';

/** What an image file may be. */
export interface DecodeOptions {
  /** 1 turns colour to gray as Pillow's `convert('L')`; 3 repeats gray. Default: as in the file. */
  readonly channels?: 1 | 3;
  /** Most pixels that are decoded, checked in the header before any is. Default 2^26 (8192 x 8192). */
  readonly maxPixels?: number;
}

/** Most pixels of an image unless the caller says otherwise. */
const MAX_PIXELS = 2 ** 26;

/**
 * Pixels of a PNG or JPEG, 8 bits: turned as its EXIF orientation says, transparent parts laid on white, colour
 * profiles ignored (as Pillow does, so that features agree with Python's).
 *
 * @param name the file, for errors
 * @throws InvalidFileError when the bytes are neither, are damaged or cut short, or claim too many pixels
 */
export async function decodeImage(bytes: Uint8Array, name: string, options: DecodeOptions = {}): Promise<Bitmap> {
  const { maxPixels = MAX_PIXELS } = options;
  if (!isPng(bytes) && !isJpeg(bytes)) {
    throw new InvalidFileError(name, bytes.length === 0 ? 'the file is empty' : 'not a PNG or JPEG image');
  }
  const { default: sharp } = await import('sharp'); // Its native library: 0.1 s that a program which decodes nothing saves.
  try {
    const { width, height, channels: stored } = await sharp(bytes, { limitInputPixels: false }).metadata(); // the header alone
    if (width * height > maxPixels) {
      throw new InvalidFileError(name, `expected at most ${maxPixels} pixels, the header says ${height} x ${width}`);
    }
    const { data, info } = await sharp(bytes, {
      autoOrient: true,
      failOn: 'truncated',
      ignoreIcc: true,
      limitInputPixels: maxPixels,
    })
      .flatten({ background: '#fff' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const channels = options.channels ?? (stored <= 2 ? 1 : 3);
    return {
      data: withChannels(data, info.channels, channels),
      height: info.height,
      width: info.width,
      channels,
    };
  } catch (error) {
    if (error instanceof InvalidFileError) throw error;
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new InvalidFileError(name, `damaged image: ${reason}`, { cause: error });
  }
}

function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

/** Gray or RGB from gray or RGB. To gray by ITU-R 601 in the fixed point of Pillow. */
function withChannels(data: Uint8Array, from: number, to: 1 | 3): Uint8Array {
  if (from === to) return new Uint8Array(data);
  const pixels = data.length / from;
  const out = new Uint8Array(pixels * to);
  for (let i = 0; i < pixels; i++) {
    if (to === 3) out.fill(data[i]!, 3 * i, 3 * i + 3);
    else out[i] = (data[3 * i]! * 19595 + data[3 * i + 1]! * 38470 + data[3 * i + 2]! * 7471 + 0x8000) >>> 16;
  }
  return out;
}
