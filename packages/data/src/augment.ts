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

/**
 * EDM's augmentation without leaks (Karras et al. 2022, appendix F.2, table 6): a fair mirror, and each of mirror up-down,
 * isotropic scaling, rotation, stretching along a random axis and shift with `probability` (0.12 in the paper for CIFAR-10, 0.15 for
 * FFHQ). One affine map an image, read by cubic interpolation with mirrored borders. What was drawn is the label: x mirror, y mirror,
 * ln2 scale, cos and sin of the angle, stretch along cos and sin, shift x and y.
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
  const out = new Float32Array(images.length);
  const area = height * width * channels;
  for (let n = 0; n < count; n++) {
    const chance = rng.rand(9);
    const normal = rng.randn(4);
    const happens = (i: number) => chance[i]! < probability;
    const mirrorX = chance[0]! < 0.5;
    const mirrorY = happens(1) && chance[2]! < 0.5;
    const scale = happens(3) ? normal[0]! : 0;
    const angle = happens(4) ? (2 * chance[5]! - 1) * Math.PI : 0;
    const stretch = happens(6) ? normal[1]! : 0;
    const axis = (2 * chance[7]! - 1) * Math.PI;
    const [shiftX, shiftY] = happens(8) ? [normal[2]!, normal[3]!] : [0, 0];
    labels.set(
      [
        ...[mirrorX ? 1 : 0, mirrorY ? 1 : 0, scale, Math.cos(angle) - 1, Math.sin(angle)],
        ...[stretch * Math.cos(axis), stretch * Math.sin(axis), shiftX, shiftY],
      ],
      n * AUGMENT_LABELS,
    );
    // From the picture to its augmented form, about its middle: shift, stretch, turn, scale and mirror, the last first.
    const map = product(
      diagonal(mirrorX ? -1 : 1, mirrorY ? -1 : 1),
      diagonal(2 ** (scale * SCALE_STD), 2 ** (scale * SCALE_STD)),
      rotation(-angle),
      rotation(axis),
      diagonal(2 ** (stretch * ANISO_STD), 2 ** (-stretch * ANISO_STD)),
      rotation(-axis),
    );
    const shift = [shiftX * TRANSLATE_STD * width, shiftY * TRANSLATE_STD * height] as const;
    const [from, to] = [images.subarray(n * area, (n + 1) * area), out.subarray(n * area, (n + 1) * area)];
    if (isMirror(map) && shiftX === 0 && shiftY === 0) mirror(from, to, { height, width, channels }, mirrorX, mirrorY);
    else warp(from, to, { height, width, channels }, inverse(map), shift);
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

function isMirror([a, b, c, d]: Matrix): boolean {
  return Math.abs(b) + Math.abs(c) < 1e-12 && Math.abs(Math.abs(a) - 1) < 1e-12 && Math.abs(Math.abs(d) - 1) < 1e-12;
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

/** to(p) = from(M (p - shift - middle) + middle), by Keys' cubic interpolation with a = -1/2. */
function warp(
  from: Float32Array,
  to: Float32Array,
  { height, width, channels }: Size,
  [a, b, c, d]: Matrix,
  [shiftX, shiftY]: readonly [number, number],
): void {
  const [middleX, middleY] = [(width - 1) / 2, (height - 1) / 2];
  const [columns, rows] = [taps(), taps()];
  let out = 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const [x, y] = [column - middleX - shiftX, row - middleY - shiftY];
      cubic(a * x + b * y + middleX, width, columns);
      cubic(c * x + d * y + middleY, height, rows);
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        for (let j = 0; j < 4; j++) {
          const line = rows.at[j]! * width;
          for (let i = 0; i < 4; i++) {
            sum += rows.weight[j]! * columns.weight[i]! * from[(line + columns.at[i]!) * channels + channel]!;
          }
        }
        to[out++] = sum;
      }
    }
  }
}

const taps = () => ({ at: new Int32Array(4), weight: new Float64Array(4) });

/** The four pixels around a place on an axis of `size` pixels, mirrored at the borders, and their weights. */
function cubic(place: number, size: number, into: ReturnType<typeof taps>): void {
  const first = Math.floor(place) - 1;
  const t = place - Math.floor(place);
  into.weight[0] = ((-0.5 * t + 1) * t - 0.5) * t;
  into.weight[1] = (1.5 * t - 2.5) * t * t + 1;
  into.weight[2] = ((-1.5 * t + 2) * t + 0.5) * t;
  into.weight[3] = (0.5 * t - 0.5) * t * t;
  for (let i = 0; i < 4; i++) into.at[i] = mirrored(first + i, size);
}

/** An index reflected into [0, size): ... 1 0 | 0 1 ... size-1 | size-1 ... */
function mirrored(index: number, size: number): number {
  const period = 2 * size;
  const inside = ((index % period) + period) % period;
  return inside < size ? inside : period - 1 - inside;
}
