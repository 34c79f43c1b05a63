import { inflateSync } from 'node:zlib';
import { InvalidFileError, readingBudget } from '@mezzotint/core';
import type { Bitmap } from './bitmap.js';
import { chunksOf } from './png-text.js';

/** What the header of a PNG says, and its chunks that matter to pixels. */
export interface PngImage {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly kind: PngKind;
  readonly interlaced: boolean;
  readonly palette: Uint8Array;
  /** tRNS: the alpha of each colour of the palette, or the one gray or colour that is transparent. */
  readonly transparency: Uint8Array | undefined;
  /** EXIF orientation, 1 to 8. */
  readonly orientation: number;
  readonly data: readonly Uint8Array[];
}

/** A colour type of the PNG specification (table 11.1): samples a pixel, and the depths that it may have. */
interface PngKind {
  readonly samples: 1 | 2 | 3 | 4;
  readonly depths: readonly number[];
  readonly palette?: true;
  readonly alpha?: true;
}

const KINDS: Readonly<Record<number, PngKind>> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8], palette: true },
  4: { samples: 2, depths: [8, 16], alpha: true },
  6: { samples: 4, depths: [8, 16], alpha: true },
};

/** Passes of Adam7: first column and row, distance of columns and rows (specification, 8.2). */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;
const WHOLE = [[0, 0, 1, 1]] as const;

/**
 * Header and chunks of a PNG; nothing is unpacked.
 *
 * @throws InvalidFileError when chunks, sizes or colour type are not those of a PNG
 */
export function parsePng(bytes: Uint8Array, name: string): PngImage {
  let header: Buffer | undefined;
  let palette: Uint8Array = new Uint8Array(0);
  let transparency: Uint8Array | undefined;
  const data: Uint8Array[] = [];
  for (const chunk of chunksOf(bytes, name)) {
    if (chunk.type === 'IHDR') header ??= chunk.data;
    else if (chunk.type === 'PLTE') palette = chunk.data;
    else if (chunk.type === 'tRNS') transparency = chunk.data;
    else if (chunk.type === 'IDAT') data.push(chunk.data);
    else if (chunk.type !== 'IEND' && /^[A-Z]/.test(chunk.type)) damaged(name, `unknown chunk ${chunk.type}`);
  }
  if (header?.length !== 13) return damaged(name, 'it has no header');
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const [depth, type, compression, filter, interlace] = header.subarray(8) as unknown as [
    number,
    number,
    number,
    number,
    number,
  ];
  const kind = KINDS[type];
  if (width < 1 || height < 1) return damaged(name, `the header says ${height} x ${width} pixels`);
  if (!kind?.depths.includes(depth)) return damaged(name, `no PNG has colour type ${type} with ${depth} bits`);
  if (compression !== 0 || filter !== 0 || interlace > 1) {
    return damaged(name, `unknown compression ${compression}, filter ${filter} or interlace ${interlace}`);
  }
  if (kind.palette && (palette.length === 0 || palette.length % 3 !== 0 || palette.length > 768)) {
    return damaged(name, `a palette of ${palette.length} bytes`);
  }
  const needed = kind.palette ? 0 : kind.samples * 2;
  if (transparency !== undefined && (kind.alpha || transparency.length < needed)) transparency = undefined;
  if (data.length === 0) return damaged(name, 'it has no pixels');
  return {
    width,
    height,
    depth,
    kind,
    interlaced: interlace === 1,
    palette,
    transparency,
    orientation: orientationOf(bytes),
    data,
  };
}

/**
 * Pixels of a PNG in 8 bits, gray where the file is gray: 16 bits lose the lower ones, transparent parts are laid on white
 * or, where transparency is ignored, keep the colours below. Turned as its EXIF says. The data are unpacked up to the size
 * that the header asks for. PNG specification, third edition, 9 (filters) and 11 (chunks).
 *
 * @throws InvalidFileError when the data are damaged, too short or far too long
 */
export function decodePng(png: PngImage, name: string, transparency: 'onWhite' | 'ignored'): Bitmap {
  const { width, height, depth, kind, interlaced } = png;
  const passes = (interlaced ? ADAM7 : WHOLE)
    .map(([x, y, dx, dy]) => ({
      x,
      y,
      dx,
      dy,
      columns: Math.ceil((width - x) / dx),
      rows: Math.ceil((height - y) / dy),
    }))
    .filter(({ columns, rows }) => columns > 0 && rows > 0);
  const bits = depth * kind.samples;
  const rowBytes = (columns: number) => Math.ceil((columns * bits) / 8);
  const expected = passes.reduce((sum, { columns, rows }) => sum + rows * (1 + rowBytes(columns)), 0);
  const raw = unpack(png.data, expected, name);

  const channels = kind.samples >= 3 || kind.palette ? 3 : 1;
  const out = new Uint8Array(width * height * channels);
  const write = pixelWriter(png, out, name, transparency);
  let at = 0;
  for (const { x, y, dx, dy, columns, rows } of passes) {
    const length = rowBytes(columns);
    let above: Uint8Array = new Uint8Array(length);
    for (let row = 0; row < rows; row++) {
      const line = raw.subarray(at + 1, at + 1 + length);
      unfilter(raw[at]!, line, above, Math.max(1, bits >> 3), name);
      write(line, columns, (y + row * dy) * width + x, dx);
      above = line;
      at += 1 + length;
    }
  }
  return oriented({ data: out, height, width, channels }, png.orientation);
}

function unpack(data: readonly Uint8Array[], expected: number, name: string): Uint8Array {
  let raw: Uint8Array;
  try {
    raw = inflateSync(data.length === 1 ? data[0]! : Buffer.concat(data), {
      maxOutputLength: expected + readingBudget.imageTrailingBytes,
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const tooLong = code === 'ERR_BUFFER_TOO_LARGE';
    return damaged(name, tooLong ? `its data unpack to more than the ${expected} bytes of its pixels` : message, error);
  }
  if (raw.length < expected) damaged(name, `its data end after ${raw.length} of ${expected} bytes`);
  return raw;
}

/** Undoes the filter of a row in place; `above` is the row before it, `step` the bytes of a whole pixel. Specification, 9.2. */
function unfilter(filter: number, row: Uint8Array, above: Uint8Array, step: number, name: string): void {
  const { length } = row;
  if (filter === 1) for (let i = step; i < length; i++) row[i] = row[i]! + row[i - step]!;
  else if (filter === 2) for (let i = 0; i < length; i++) row[i] = row[i]! + above[i]!;
  else if (filter === 3) {
    for (let i = 0; i < length; i++) row[i] = row[i]! + (((i < step ? 0 : row[i - step]!) + above[i]!) >> 1);
  } else if (filter === 4) {
    for (let i = 0; i < Math.min(step, length); i++) row[i] = row[i]! + above[i]!;
    for (let i = step; i < length; i++) row[i] = row[i]! + paeth(row[i - step]!, above[i]!, above[i - step]!);
  } else if (filter !== 0) damaged(name, `unknown filter ${filter}`);
}

/** The neighbour that is nearest to left + up - upper left. Specification, 9.4. */
function paeth(left: number, up: number, corner: number): number {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

type WriteRow = (row: Uint8Array, columns: number, at: number, step: number) => void;

/** What turns one row of samples into pixels of `out`: from pixel `at`, every `step`-th. */
function pixelWriter(png: PngImage, out: Uint8Array, name: string, transparency: 'onWhite' | 'ignored'): WriteRow {
  const { depth, kind, palette } = png;
  const clear = transparency === 'onWhite' ? png.transparency : undefined;
  const onWhite = kind.alpha && transparency === 'onWhite';
  if (kind.palette) {
    const colours = palette.map((value, i) => laid(value, clear?.[Math.floor(i / 3)] ?? 255, 255));
    return (row, columns, at, step) => {
      for (let x = 0, o = 3 * at; x < columns; x++, o += 3 * step) {
        const from = 3 * sample(row, x, depth);
        if (from >= colours.length) damaged(name, `a pixel has colour ${from / 3} of ${colours.length / 3}`);
        out[o] = colours[from]!;
        out[o + 1] = colours[from + 1]!;
        out[o + 2] = colours[from + 2]!;
      }
    };
  }
  const { samples } = kind;
  const colours = kind.alpha ? samples - 1 : samples;
  const [most, scale] = [2 ** depth - 1, depth < 8 ? 255 / (2 ** depth - 1) : 1];
  const shift = depth === 16 ? 8 : 0;
  const key = clear && Array.from({ length: samples }, (_, c) => ((clear[2 * c]! << 8) | clear[2 * c + 1]!) & most);
  const isPlain = depth === 8 && !kind.alpha && key === undefined;
  return (row, columns, at, step) => {
    if (isPlain && step === 1) return out.set(row, at * colours);
    for (let x = 0, o = at * colours; x < columns; x++, o += step * colours) {
      const from = x * samples;
      const alpha = onWhite ? sample(row, from + colours, depth) : most;
      let matches = key !== undefined;
      for (let c = 0; c < colours; c++) {
        const value = sample(row, from + c, depth);
        if (matches && value !== key![c]) matches = false;
        out[o + c] = ((alpha === most ? value : laid(value, alpha, most)) >> shift) * scale;
      }
      if (matches) out.fill(255, o, o + colours);
    }
  };
}

/** A value that covers white by alpha of `most`. */
function laid(value: number, alpha: number, most: number): number {
  return Math.floor((value * alpha + most * (most - alpha)) / most);
}

function sample(row: Uint8Array, i: number, depth: number): number {
  if (depth === 8) return row[i]!;
  if (depth === 16) return (row[2 * i]! << 8) | row[2 * i + 1]!;
  const bit = i * depth;
  return (row[bit >> 3]! >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
}

/** Bytes at the beginning of a PNG in which its orientation is looked for, so that a size is known without reading all of it. */
export const PNG_HEAD = 2 ** 16;

/** Height and width of a PNG as it is shown, from its first {@link PNG_HEAD} bytes. */
export function pngSize(head: Uint8Array, name: string): { readonly height: number; readonly width: number } {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  if (bytes.length < 33 || bytes.toString('latin1', 12, 16) !== 'IHDR') return damaged(name, 'it has no header');
  const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  return orientationOf(bytes) > 4 ? { height: width, width: height } : { height, width };
}

/** EXIF orientation of a PNG, 1 to 8: an eXIf chunk before the pixels. */
function orientationOf(png: Uint8Array): number {
  const bytes = Buffer.from(png.buffer, png.byteOffset, Math.min(png.byteLength, PNG_HEAD));
  for (let at = 8; at + 8 <= bytes.length; ) {
    const [length, type] = [bytes.readUInt32BE(at), bytes.toString('latin1', at + 4, at + 8)];
    if (type === 'eXIf') return exifOrientation(bytes.subarray(at + 8, at + 8 + length));
    if (type === 'IDAT') return 1;
    at += 12 + length;
  }
  return 1;
}

/** Tag 274 of the first directory of an EXIF block; 1 where there is none. */
function exifOrientation(exif: Buffer): number {
  const little = exif.toString('latin1', 0, 2) === 'II';
  if (exif.length < 10 || (!little && exif.toString('latin1', 0, 2) !== 'MM')) return 1;
  const short = (at: number) => (little ? exif.readUInt16LE(at) : exif.readUInt16BE(at));
  const directory = little ? exif.readUInt32LE(4) : exif.readUInt32BE(4);
  if (directory + 2 > exif.length) return 1;
  for (let i = 0, at = directory + 2; i < short(directory) && at + 12 <= exif.length; i++, at += 12) {
    if (short(at) === 274) return short(at + 8) >= 1 && short(at + 8) <= 8 ? short(at + 8) : 1;
  }
  return 1;
}

/** Turns and mirrors a picture as its EXIF orientation says: 5 to 8 exchange rows and columns. */
function oriented(image: Bitmap, orientation: number): Bitmap {
  if (orientation === 1) return image;
  const { data, height, width, channels } = image;
  const turned = orientation > 4;
  const size = turned ? { height: width, width: height } : { height, width };
  const out = new Uint8Array(data.length);
  for (let y = 0, o = 0; y < size.height; y++) {
    for (let x = 0; x < size.width; x++) {
      const [column, row] = turned ? [y, x] : [x, y];
      const fromX = [2, 3, 7, 8].includes(orientation) ? width - 1 - column : column;
      const fromY = [3, 4, 6, 7].includes(orientation) ? height - 1 - row : row;
      const from = (fromY * width + fromX) * channels;
      for (let c = 0; c < channels; c++) out[o++] = data[from + c]!;
    }
  }
  return { data: out, ...size, channels };
}

function damaged(name: string, problem: string, cause?: unknown): never {
  throw new InvalidFileError(name, `damaged image: ${problem}`, { cause });
}
