import { InvalidArgumentError, type RandomStream } from '@mezzotint/core';

/** Augmented images, and what was done to each: what a network that takes it can be told, so that it need not leak. */
export interface Augmented {
  /** NHWC, the shape that came. */
  readonly images: Float32Array;
  /** `[N, 9]`: zeros say that nothing was done. */
  readonly labels: Float32Array;
}

/** Numbers of one image's augmentation in {@link Augmented.labels}. */
export const AUGMENT_LABELS = 9;

/** Deviations of the transforms; EDM, table 6. */
const SCALE_STD = 0.2;
const ANISO_STD = 0.2;
const TRANSLATE_STD = 0.125;
/** How often the axis of a stretch is turned; it is x otherwise. */
const AXIS_TURNED = 0.5;

/**
 * EDM's augmentation without leaks (Karras et al. 2022, appendix F.2, table 6): a fair mirror, and each of mirror up-down,
 * isotropic scaling, rotation, stretching (along a turned axis in half of the cases) and shift with `probability` (0.12 in the paper for
 * CIFAR-10, 0.15 for FFHQ); at 0 nothing is done, the fair mirror neither. One affine map an image. What was drawn is the label: x mirror,
 * y mirror, ln2 scale, cos - 1 and sin of the angle, stretch times cos and sin of its axis, shift x and y.
 *
 * @param images NHWC
 * @throws InvalidArgumentError when the probability is not in [0, 1]
 */
export function edmAugment(
  images: Float32Array,
  [count, height, width, channels]: readonly [number, number, number, number],
  rng: RandomStream,
  probability = 0.12,
): Augmented {
  if (!(probability >= 0 && probability <= 1)) {
    throw new InvalidArgumentError('edmAugment', `the probability must be in [0, 1], got ${probability}`);
  }
  const labels = new Float32Array(count * AUGMENT_LABELS);
  if (probability === 0) return { images: images.slice(), labels };
  const out = new Float32Array(images.length);
  const size = { height, width, channels };
  const area = height * width * channels;
  for (let n = 0; n < count; n++) {
    const chance = rng.rand(10);
    const normal = rng.randn(4);
    const happens = (i: number) => chance[i]! < probability;
    const mirrorX = chance[0]! < 0.5;
    const mirrorY = happens(1) && chance[2]! < 0.5;
    const scale = happens(3) ? normal[0]! : 0;
    const angle = happens(4) ? (2 * chance[5]! - 1) * Math.PI : 0;
    const stretch = happens(6) ? normal[1]! : 0;
    const axis = chance[9]! < AXIS_TURNED ? (2 * chance[7]! - 1) * Math.PI : 0;
    const [shiftX, shiftY] = happens(8) ? [normal[2]!, normal[3]!] : [0, 0];
    labels.set(
      [
        ...[mirrorX ? 1 : 0, mirrorY ? 1 : 0, scale, Math.cos(angle) - 1, Math.sin(angle)],
        ...[stretch * Math.cos(axis), stretch * Math.sin(axis), shiftX, shiftY],
      ],
      n * AUGMENT_LABELS,
    );
    const [from, to] = [images.subarray(n * area, (n + 1) * area), out.subarray(n * area, (n + 1) * area)];
    mirror(from, to, size, mirrorX, mirrorY);
    if ([scale, angle, stretch, shiftX, shiftY].every((value) => value === 0)) continue;
    // From the mirrored picture to the augmented one, about its middle: scale, turn, stretch and, last, shift.
    const map = product(
      rotation(-axis),
      diagonal(2 ** (stretch * ANISO_STD), 2 ** (-stretch * ANISO_STD)),
      rotation(axis),
      rotation(-angle),
      diagonal(2 ** (scale * SCALE_STD), 2 ** (scale * SCALE_STD)),
    );
    const shift = [shiftX * TRANSLATE_STD * width, shiftY * TRANSLATE_STD * height] as const;
    to.set(warped(to, size, inverse(map), shift));
  }
  return { images: out, labels };
}

interface Size {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** [a b; c d] on (x, y). */
type Matrix = readonly [number, number, number, number];

const diagonal = (a: number, d: number): Matrix => [a, 0, 0, d];
const rotation = (angle: number): Matrix => [Math.cos(angle), -Math.sin(angle), Math.sin(angle), Math.cos(angle)];

function product(...matrices: readonly Matrix[]): Matrix {
  return matrices.reduce(([a, b, c, d], [e, f, g, h]) => [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h]);
}

function inverse([a, b, c, d]: Matrix): Matrix {
  const det = a * d - b * c;
  return [d / det, -b / det, -c / det, a / det];
}

/** Mirrors one image left-right (x) and up-down (y). Exact, unlike interpolation. */
export function mirror(
  from: Float32Array,
  to: Float32Array,
  { height, width, channels }: Size,
  x: boolean,
  y: boolean,
): void {
  let out = 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const at = ((y ? height - 1 - row : row) * width + (x ? width - 1 - column : column)) * channels;
      for (let c = 0; c < channels; c++) to[out++] = from[at + c]!;
    }
  }
}

/**
 * An image through an affine map, out(p) = image(M (p - shift - middle) + middle), as StyleGAN2-ADA and EDM resample (Karras et al.
 * 2020, "Training Generative Adversarial Networks with Limited Data", appendix B): extended by reflection, upsampled by two with a wavelet's
 * low-pass filter, read bilinearly at twice the resolution, and downsampled with the same filter. Where nothing moves it is the image.
 */
function warped(
  image: Float32Array,
  { height, width, channels }: Size,
  [a, b, c, d]: Matrix,
  [shiftX, shiftY]: readonly [number, number],
): Float32Array {
  const [middleX, middleY] = [(width - 1) / 2, (height - 1) / 2];
  const placeOf = (x: number, y: number) => {
    const [dx, dy] = [x - middleX - shiftX, y - middleY - shiftY];
    return { x: a * dx + b * dy + middleX, y: c * dx + d * dy + middleY };
  };
  const corners = [0, width - 1].flatMap((x) => [0, height - 1].map((y) => placeOf(x, y)));
  const [left, right] = margins(
    corners.map(({ x }) => x),
    width,
  );
  const [top, bottom] = margins(
    corners.map(({ y }) => y),
    height,
  );
  const wide = width + left + right;
  const high = height + top + bottom;
  const extended = new Float32Array(high * wide * channels);
  for (let y = 0, out = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      const at = (reflected(y - top, height) * width + reflected(x - left, width)) * channels;
      for (let channel = 0; channel < channels; channel++) extended[out++] = image[at + channel]!;
    }
  }
  const fine = upsampled(upsampled(extended, wide, channels), high, 2 * wide * channels);
  // Twice as fine as the image, with what the filter reads beyond its borders.
  const [rows, columns] = [2 * height + SYM6.length - 2, 2 * width + SYM6.length - 2];
  const read = new Float32Array(rows * columns * channels);
  for (let row = 0, out = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, out += channels) {
      const { x, y } = placeOf((column - PHASE) / 2, (row - PHASE) / 2);
      bilinear(fine, [2 * high, 2 * wide, channels], 2 * (y + top), 2 * (x + left), read.subarray(out, out + channels));
    }
  }
  return downsampled(downsampled(read, columns, channels), rows, width * channels);
}

/** Low-pass filter of the wavelet sym6 (Daubechies 1992, "Ten Lectures on Wavelets", section 8.1.1), orthogonal to its shifts by two. */
const SYM6 = [
  ...[0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466],
  ...[0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578],
  ...[0.0017677118642428036, -0.007800708325034148],
] as const;
/** The tap of the filter that is at a pixel's own place. */
const PHASE = 5;

/** Pixels before and behind an axis of `size` that are read from `places` on it, with those under the filters; at most one reflection. */
function margins(places: readonly number[], size: number): readonly [number, number] {
  const reach = SYM6.length / 2;
  const [before, behind] = [reach - Math.min(...places), Math.max(...places) + reach - (size - 1)];
  const within = (margin: number) => Math.ceil(Math.min(Math.max(margin, 0), size - 1));
  return [within(before), within(behind)];
}

/** An index reflected into [0, size) about its first and last pixel: ... 2 1 | 0 1 ... size-1 | size-2 ... */
function reflected(index: number, size: number): number {
  return index < 0 ? -index : index < size ? index : 2 * (size - 1) - index;
}

/** An axis of `length` twice as fine, values `inner` apart: out_j = sum_i in_i h_(j - 2 i + PHASE); a value stays at 2 i. */
function upsampled(values: Float32Array, length: number, inner: number): Float32Array {
  const out = new Float32Array(2 * values.length);
  for (let line = 0; line < values.length; line += length * inner) {
    for (let j = 0; j < 2 * length; j++) {
      const to = 2 * line + j * inner;
      const first = Math.max(Math.ceil((j + PHASE + 1 - SYM6.length) / 2), 0);
      for (let i = first; i < length && 2 * i <= j + PHASE; i++) {
        const weight = SYM6[j - 2 * i + PHASE]!;
        const from = line + i * inner;
        for (let e = 0; e < inner; e++) out[to + e]! += weight * values[from + e]!;
      }
    }
  }
  return out;
}

/** An axis of `length` filtered, every second value where the filter fits: out_k = sum_t in_(2 k + t) h_t. */
function downsampled(values: Float32Array, length: number, inner: number): Float32Array {
  const short = (length - SYM6.length) / 2 + 1;
  const lines = values.length / (length * inner);
  const out = new Float32Array(lines * short * inner);
  for (let line = 0; line < lines; line++) {
    for (let k = 0; k < short; k++) {
      const to = (line * short + k) * inner;
      for (let t = 0; t < SYM6.length; t++) {
        const weight = SYM6[t]!;
        const from = (line * length + 2 * k + t) * inner;
        for (let e = 0; e < inner; e++) out[to + e]! += weight * values[from + e]!;
      }
    }
  }
  return out;
}

/** The channels of a picture between four pixels; 0 beyond its borders. */
function bilinear(
  values: Float32Array,
  [height, width, channels]: readonly [number, number, number],
  y: number,
  x: number,
  into: Float32Array,
): void {
  const [row, column] = [Math.floor(y), Math.floor(x)];
  for (let j = row; j <= row + 1; j++) {
    for (let i = column; i <= column + 1; i++) {
      if (j < 0 || j >= height || i < 0 || i >= width) continue;
      const weight = (1 - Math.abs(y - j)) * (1 - Math.abs(x - i));
      const from = (j * width + i) * channels;
      for (let channel = 0; channel < channels; channel++) into[channel]! += weight * values[from + channel]!;
    }
  }
}
