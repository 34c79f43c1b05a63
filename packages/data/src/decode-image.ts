import { crc32 } from 'node:zlib';
import { InvalidFileError, MezzotintError, readingBudget } from '@mezzotint/core';
import type { Sharp, default as sharp } from 'sharp';
import type { Bitmap } from './bitmap.js';
import { decodePng, parsePng, pngSize } from './decode-png.js';
import { decodingMemory } from './decoding-memory.js';
import { chunksOf, isPng } from './png-text.js';
import type { ImageSize } from './resize.js';

/** What an image file may be. */
export interface DecodeOptions {
  /** 1 turns colour to gray as Pillow's `convert('L')`; 3 repeats gray. Default: as in the file. */
  readonly channels?: 1 | 3;
  /** Most pixels that are decoded, checked in the header before any is. Default 2^26 (8192 x 8192). */
  readonly maxPixels?: number;
  /** Transparent parts are laid `onWhite` (default), or transparency is `ignored`: the colours below it, as Pillow's `convert('RGB')`. */
  readonly transparency?: 'onWhite' | 'ignored';
}

/**
 * Pixels of a PNG, JPEG or WebP, 8 bits: turned as its EXIF orientation says, transparent parts laid on white, colour
 * profiles ignored and CMYK converted as Pillow does, so that features agree with Python's. Pictures wait for each other
 * when decoding them at once would take more memory than `readingBudget.imageBytesAtOnce`.
 *
 * @param name the file, for errors
 * @throws InvalidFileError when the bytes are none of these, are damaged or cut short, or claim too many pixels;
 *   MezzotintError with code `MEZZOTINT_MISSING_PACKAGE` for JPEG and WebP without the optional package `sharp`
 */
export function decodeImage(bytes: Uint8Array, name: string, options: DecodeOptions = {}): Promise<Bitmap> {
  return useImage(bytes, name, options, (image) => image);
}

/** Decodes a picture and uses it while its memory is still counted. */
export async function useImage<T>(
  bytes: Uint8Array,
  name: string,
  options: DecodeOptions,
  use: (image: Bitmap) => T,
): Promise<T> {
  const { maxPixels = readingBudget.imagePixels } = options;
  if (!isPng(bytes) && !isJpeg(bytes) && !isWebp(bytes)) {
    throw new InvalidFileError(name, bytes.length === 0 ? 'the file is empty' : 'not a PNG, JPEG or WebP image');
  }
  const picture = isPng(bytes) ? pngPicture(bytes, name) : await sharpPicture(bytes, name);
  const { height, width } = picture;
  if (width * height > maxPixels) {
    throw new InvalidFileError(name, `expected at most ${maxPixels} pixels, the header says ${height} x ${width}`);
  }
  if (Math.max(width, height) > readingBudget.imageSide) {
    const limit = `expected sides of at most ${readingBudget.imageSide} pixels`;
    throw new InvalidFileError(name, `${limit}, the header says ${height} x ${width}`);
  }
  return decodingMemory(width * height * 8, async () => {
    const stored = await picture.decode(options);
    return use(options.channels === undefined ? stored : withChannels(stored, options.channels));
  });
}

/**
 * Height and width of a picture as it is shown, from its header.
 *
 * @param head its first {@link PNG_HEAD} bytes
 * @param whole its path or all its bytes, for JPEG and WebP
 */
export async function imageSize(
  head: Uint8Array,
  whole: () => Promise<string | Uint8Array>,
  name: string,
): Promise<ImageSize> {
  if (isPng(head)) return pngSize(head, name);
  const { height, width, orientation } = await sharpPicture(await whole(), name);
  return orientation > 4 ? { height: width, width: height } : { height, width };
}

/** A picture whose header was read. */
interface Picture {
  /** As stored, before it is turned. */
  readonly width: number;
  readonly height: number;
  /** EXIF orientation, 1 to 8: above 4 rows and columns are exchanged. */
  readonly orientation: number;
  decode(options: DecodeOptions): Promise<Bitmap> | Bitmap;
}

function pngPicture(bytes: Uint8Array, name: string): Picture {
  checkSums(bytes, name);
  const png = parsePng(bytes, name);
  return { ...png, decode: ({ transparency = 'onWhite' }) => decodePng(png, name, transparency) };
}

/** JPEG and WebP, by sharp. */
async function sharpPicture(input: string | Uint8Array, name: string): Promise<Picture> {
  const sharp = await loadSharp(name);
  return damaged(name, async () => {
    // Reads the header alone.
    const {
      width,
      height,
      channels,
      space,
      orientation = 1,
    } = await sharp(input, { limitInputPixels: false }).metadata();
    const decode = (options: DecodeOptions) =>
      damaged(name, () => {
        const file = sharp(input, {
          autoOrient: true,
          failOn: 'truncated',
          ignoreIcc: true,
          limitInputPixels: width * height,
        });
        return space === 'cmyk' ? fromCmyk(file) : pixels(file, channels <= 2, options);
      });
    return { width, height, orientation, decode };
  });
}

/** The package sharp, which only JPEG and WebP need. Its native library takes 0.1 s to load and 20 MB on disk. */
async function loadSharp(name: string): Promise<typeof sharp> {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    const problem =
      'JPEG and WebP are decoded by the package sharp, which could not be loaded (npm install sharp); PNG needs no package';
    throw new MezzotintError('MEZZOTINT_MISSING_PACKAGE', `${name}: ${problem}`, { package: 'sharp' }, { cause });
  }
}

async function pixels(file: Sharp, isGray: boolean, { transparency = 'onWhite' }: DecodeOptions): Promise<Bitmap> {
  const opaque = transparency === 'onWhite' ? file.flatten({ background: '#fff' }) : file.removeAlpha();
  const { data, info } = await opaque
    .toColourspace(isGray ? 'b-w' : 'srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const plain = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { data: plain, height: info.height, width: info.width, channels: info.channels === 1 ? 1 : 3 };
}

/** RGB from CMYK as Pillow's `cmyk2rgb`: c' = (255 - k) - c (255 - k) / 255, rounded. */
async function fromCmyk(file: Sharp): Promise<Bitmap> {
  const { data, info } = await file
    .pipelineColourspace('cmyk')
    .toColourspace('cmyk')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const out = new Uint8Array((data.length / 4) * 3);
  for (let i = 0, o = 0; i < data.length; i += 4) {
    const white = 255 - data[i + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = data[i + c]! * white + 128;
      out[o++] = white - ((product + (product >> 8)) >> 8);
    }
  }
  return { data: out, height: info.height, width: info.width, channels: 3 };
}

/** Runs a decoder; what it throws becomes an InvalidFileError. */
async function damaged<T>(name: string, decode: () => Promise<T>): Promise<T> {
  try {
    return await decode();
  } catch (error) {
    if (InvalidFileError.isInstance(error)) throw error;
    const said = error instanceof Error ? error.message.split('\n')[0] : String(error);
    // What libvips says of a JPEG that ends early.
    const reason = said === 'Unknown error' ? 'it is cut short' : said;
    throw new InvalidFileError(name, `damaged image: ${reason}`, { cause: error });
  }
}

/** Refuses a PNG with a wrong checksum; Pillow looks at those of some chunks, the decoder at none. */
function checkSums(bytes: Uint8Array, name: string): void {
  for (const { type, checked, sum } of chunksOf(bytes, name)) {
    if (crc32(checked) !== sum)
      throw new InvalidFileError(name, `damaged image: the checksum of its ${type} chunk is wrong`);
  }
}

function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

function isWebp(bytes: Uint8Array): boolean {
  const text = (from: number) => String.fromCharCode(...bytes.subarray(from, from + 4));
  return text(0) === 'RIFF' && text(8) === 'WEBP';
}

/** Gray or RGB from gray or RGB. To gray by ITU-R 601 in the fixed point of Pillow. */
export function withChannels(image: Bitmap, to: 1 | 3): Bitmap {
  const { data, channels: from } = image;
  if (from === to) return image;
  const count = data.length / from;
  const out = new Uint8Array(count * to);
  for (let i = 0; i < count; i++) {
    if (to === 3) out.fill(data[i]!, 3 * i, 3 * i + 3);
    else out[i] = (data[3 * i]! * 19595 + data[3 * i + 1]! * 38470 + data[3 * i + 2]! * 7471 + 0x8000) >>> 16;
  }
  return { ...image, data: out, channels: to };
}
