import { deriveSeed, InvalidArgumentError, NumpyRandomState } from '@mezzotint/core';
import type { ImageSet } from './image-set.js';

/** Whether a point is inside a shape of radius 1 around the origin, y down. */
type Inside = (x: number, y: number) => boolean;

const SHAPES: Readonly<Record<string, Inside>> = {
  circle: (x, y) => Math.hypot(x, y) < 1,
  cross: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 1 && Math.min(Math.abs(x), Math.abs(y)) < 0.33,
  heart: (x, y) => (1.3 * x * x + (1.2 * y + 0.1) ** 2 - 0.75) ** 3 + 1.7 * x * x * (1.2 * y + 0.1) ** 3 < 0,
  ring: (x, y) => Math.abs(Math.hypot(x, y) - 0.75) < 0.25,
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 0.85,
  star: (x, y) => {
    const fifth = (2 * Math.PI) / 5;
    const turn = Math.atan2(x, -y); // 0 is up
    const angle = Math.abs(turn - fifth * Math.round(turn / fifth)); // from the nearest tip, at most fifth / 2
    const [inner, half] = [0.45, fifth / 2];
    // The edge from the tip (1, 0) to the notch (inner, half) in polar coordinates.
    const edge = (inner * Math.sin(half)) / (inner * Math.sin(half - angle) + Math.sin(angle));
    return Math.hypot(x, y) < edge;
  },
  triangle: (x, y) => y < 0.8 && Math.abs(x) < (y + 1) * 0.55,
};

const COLOURS: Readonly<Record<string, readonly [number, number, number]>> = {
  red: [220, 40, 40],
  orange: [240, 140, 30],
  yellow: [245, 215, 50],
  green: [40, 165, 70],
  blue: [45, 90, 220],
  purple: [140, 60, 190],
};

const GROUNDS: Readonly<Record<string, readonly [number, number, number]>> = {
  white: [250, 250, 250],
  black: [20, 20, 20],
  gray: [130, 130, 130],
};

/** Samples a side of a pixel, whose mean is its colour. */
const SUBPIXELS = 4;

/** Pictures of shapes with their captions, such as "a red star on white". */
export interface ShapeSet extends ImageSet {
  readonly captions: readonly string[];
}

/**
 * Draws coloured shapes: seven classes (circle, cross, heart, ring, square, star, triangle) in six colours on three grounds, of random
 * size (radius 0.25 to 0.45 of the side) and place, turned by at most 15 degrees. Image i is of class i mod 7, and depends on `seed` and i
 * alone.
 *
 * @throws InvalidArgumentError when count or size are no positive integers
 */
export function drawShapes(
  count: number,
  { size = 32, seed = 0 }: { readonly size?: number; readonly seed?: number } = {},
): ShapeSet {
  const problems = Object.entries({ count, size }).flatMap(([name, value]) =>
    Number.isSafeInteger(value) && value >= 1 ? [] : [`expected ${name} to be a positive integer, got ${value}`],
  );
  if (problems.length > 0) throw new InvalidArgumentError('drawShapes', problems);
  const classes = Object.keys(SHAPES);
  const images = new Uint8Array(count * size * size * 3);
  const captions: string[] = [];
  for (let i = 0; i < count; i++) {
    const draws = new NumpyRandomState(deriveSeed(seed, `shape ${i}`)).rand(6) as Float64Array;
    const shape = classes[i % classes.length]!;
    const [colour, ground, radius, x, y, angle] = draws as unknown as [number, number, number, number, number, number];
    const [colourName, inner] = pick(COLOURS, colour);
    const [groundName, outer] = pick(GROUNDS, ground);
    const r = (0.25 + 0.2 * radius) * size;
    const at = (u: number) => r + u * (size - 2 * r);
    const inside = turned(SHAPES[shape]!, (angle - 0.5) * (Math.PI / 6));
    const pixels = images.subarray(i * size * size * 3, (i + 1) * size * size * 3);
    paint(pixels, size, (px, py) => inside((px - at(x)) / r, (py - at(y)) / r), inner, outer);
    captions.push(`${/^[aeiou]/.test(colourName) ? 'an' : 'a'} ${colourName} ${shape} on ${groundName}`);
  }
  const labels = Int32Array.from({ length: count }, (_, i) => i % classes.length);
  return { images, labels, classes, captions, count, height: size, width: size, channels: 3 };
}

/** An entry of a record by a number in [0, 1). */
function pick<T>(of: Readonly<Record<string, T>>, u: number): readonly [string, T] {
  const entries = Object.entries(of);
  return entries[Math.floor(u * entries.length)]!;
}

function turned(inside: Inside, angle: number): Inside {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return (x, y) => inside(c * x + s * y, c * y - s * x);
}

/** Two colours, mixed at the edge by how much of each pixel is inside. */
function paint(
  pixels: Uint8Array,
  size: number,
  inside: Inside,
  inner: readonly number[],
  outer: readonly number[],
): void {
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      let hits = 0;
      for (let k = 0; k < SUBPIXELS ** 2; k++) {
        const [dx, dy] = [k % SUBPIXELS, Math.floor(k / SUBPIXELS)];
        if (inside(x + (dx + 0.5) / SUBPIXELS, y + (dy + 0.5) / SUBPIXELS)) hits++;
      }
      const share = hits / SUBPIXELS ** 2;
      for (let c = 0; c < 3; c++) {
        pixels[(y * size + x) * 3 + c] = Math.round(share * inner[c]! + (1 - share) * outer[c]!);
      }
    }
  }
}
