import { InvalidArgumentError } from '@mezzotint/core';
import { type Bitmap, checkBitmap } from './bitmap.js';
import { RESIZE_FILTERS, type ResampleWeights, type ResizeFilter, resampleWeights } from './resample-weights.js';

/** One picture as floats of any range. */
export interface FloatImage {
  /** HWC `[height, width, channels]`. */
  readonly data: Float32Array;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** Size of a picture in pixels. */
export interface ImageSize {
  readonly height: number;
  readonly width: number;
}

/** Bits behind the point of the weights for bytes; Pillow's number, so that bytes come out equal. */
const FRACTION_BITS = 22;

/**
 * Resizes bytes with antialiasing, equal to `Image.resize` of Pillow 11 byte for byte: rows first, then columns, weights in
 * fixed point, each pass rounded and clipped. (Pillow 13 goes columns first where that is cheaper; a few bytes differ then.) Resizers that do not stretch the filter when they shrink alias, which moves
 * FID by points: G. Parmar, R. Zhang, J.-Y. Zhu, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation" (2022).
 *
 * @throws InvalidArgumentError when sizes and data do not agree, or for a size or filter that is none
 */
export function resize(image: Bitmap, size: ImageSize, filter: ResizeFilter = 'bicubic'): Bitmap {
  return resizeWindow(image, size, { top: 0, left: 0, ...size }, filter);
}

/** A part of a picture, in pixels. */
export interface ImageWindow extends ImageSize {
  readonly top: number;
  readonly left: number;
}

/**
 * A window of what {@link resize} makes, byte for byte, at the cost of that window: the whole is never made, however large
 * it would be.
 *
 * @throws InvalidArgumentError as {@link resize}, and when the window does not lie in the resized picture
 */
export function resizeWindow(
  image: Bitmap,
  size: ImageSize,
  window: ImageWindow,
  filter: ResizeFilter = 'bicubic',
): Bitmap {
  checkBitmap('resize', image);
  checkTarget('resize', size, filter);
  checkWindow(size, window);
  const data = twoPasses(image, size, window, filter, (n) => new Uint8Array(n), bytePass);
  return { data, height: window.height, width: window.width, channels: image.channels };
}

/**
 * {@link resize} for floats, equal to Pillow 11 on an image of mode `F` (clean-fid's form): no rounding to bytes and no
 * clipping, so bicubic and lanczos may leave the range of the input.
 *
 * @throws InvalidArgumentError as {@link resize}
 */
export function resizeFloat(image: FloatImage, size: ImageSize, filter: ResizeFilter = 'bicubic'): FloatImage {
  const { data, height, width, channels } = image;
  if (!(height >= 1 && width >= 1 && channels >= 1) || data.length !== height * width * channels) {
    const shape = [height, width, channels].join(', ');
    throw new InvalidArgumentError('resizeFloat', `expected data of shape [${shape}], got ${data.length} numbers`);
  }
  checkTarget('resizeFloat', size, filter);
  const whole = { top: 0, left: 0, ...size };
  const resized = twoPasses(image, size, whole, filter, (n) => new Float32Array(n), floatPass);
  return { data: resized, height: size.height, width: size.width, channels };
}

/** One axis of an array seen as `[outer, from, inner]`, turned into `[outer, to, inner]`. */
interface Axis {
  readonly outer: number;
  readonly from: number;
  readonly to: number;
  readonly inner: number;
}

type Pass<T> = (input: T, output: T, axis: Axis, taps: ResampleWeights) => void;

/**
 * Rows, then columns; an axis whose size stays is left as it is. Only the rows that the window's columns are made from go
 * through the first pass. Always a new array.
 */
function twoPasses<T extends Uint8Array | Float32Array>(
  { data, height, width, channels }: { data: T; height: number; width: number; channels: number },
  size: ImageSize,
  window: ImageWindow,
  filter: ResizeFilter,
  allocate: (n: number) => T,
  pass: Pass<T>,
): T {
  const column = tapsOf(height, size.height, window.top, window.height, filter);
  const row = tapsOf(width, size.width, window.left, window.width, filter);
  const last = window.height - 1;
  const top = column.first[0]!;
  const rows = column.first[last]! + column.count[last]! - top; // First and last inputs rise with the output.
  const used = data.subarray(top * width * channels, (top + rows) * width * channels) as T;
  const wide = allocate(rows * window.width * channels);
  pass(used, wide, { outer: rows, from: width, to: window.width, inner: channels }, row);
  const below = { ...column, first: column.first.map((first) => first - top) };
  const out = allocate(window.height * window.width * channels);
  pass(wide, out, { outer: 1, from: rows, to: window.height, inner: window.width * channels }, below);
  return out;
}

/** The taps of a window of one axis; an axis whose size stays has one tap of weight 1 for each output. */
function tapsOf(from: number, to: number, start: number, length: number, filter: ResizeFilter): ResampleWeights {
  if (from !== to) return resampleWeights(from, to, filter, start, length);
  const first = Int32Array.from({ length }, (_, i) => start + i);
  return { first, count: new Int32Array(length).fill(1), weights: new Float64Array(length).fill(1), stride: 1 };
}

function bytePass(
  input: Uint8Array,
  output: Uint8Array,
  { outer, from, to, inner }: Axis,
  { first, count, weights, stride }: ResampleWeights,
): void {
  const one = 2 ** FRACTION_BITS;
  // 32 bits hold the sums, as in Pillow: 255 times the weights' absolute sum, below 1.5 for all filters, in 2^-22.
  const fixed = Int32Array.from(weights, (w) => Math.trunc(w * one + (w < 0 ? -0.5 : 0.5)));
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < to; i++) {
      const begin = i * stride;
      const taps = count[i]!;
      const source = (o * from + first[i]!) * inner;
      for (let c = 0; c < inner; c++) {
        let sum = one >> 1;
        for (let k = 0, x = source + c; k < taps; k++, x += inner) sum = (sum + input[x]! * fixed[begin + k]!) | 0;
        output[at++] = Math.min(255, Math.max(0, sum >> FRACTION_BITS));
      }
    }
  }
}

function floatPass(
  input: Float32Array,
  output: Float32Array,
  { outer, from, to, inner }: Axis,
  taps: ResampleWeights,
): void {
  const { first, count, weights, stride } = taps;
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < to; i++) {
      const begin = i * stride;
      const source = (o * from + first[i]!) * inner;
      for (let c = 0; c < inner; c++) {
        let sum = 0;
        for (let k = 0; k < count[i]!; k++) sum += input[source + k * inner + c]! * weights[begin + k]!;
        output[at++] = sum;
      }
    }
  }
}

function checkTarget(who: string, { height, width }: ImageSize, filter: ResizeFilter): void {
  const problems = [];
  if (!Number.isInteger(height) || height < 1)
    problems.push(`expected the new height to be a positive integer, got ${height}`);
  if (!Number.isInteger(width) || width < 1)
    problems.push(`expected the new width to be a positive integer, got ${width}`);
  if (!RESIZE_FILTERS.includes(filter))
    problems.push(`expected a filter of ${RESIZE_FILTERS.join(', ')}, got ${filter}`);
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}

function checkWindow(size: ImageSize, { top, left, height, width }: ImageWindow): void {
  const inside = (from: number, length: number, whole: number) =>
    Number.isSafeInteger(from) && Number.isSafeInteger(length) && from >= 0 && length >= 1 && from + length <= whole;
  if (inside(top, height, size.height) && inside(left, width, size.width)) return;
  const problem = `the window of ${height} x ${width} at row ${top}, column ${left} is not inside of ${size.height} x ${size.width}`;
  throw new InvalidArgumentError('resize', problem);
}
