import { createHash } from 'node:crypto';
import { deriveSeed, InvalidArgumentError, NumpyRandomState, type Seed } from '@mezzotint/core';
import type { Bitmap } from './bitmap.js';

/** Labelled images of one size in memory, as bytes. */
export interface ImageSet {
  /** Pixels, NHWC `[count, height, width, channels]`, 0..255. */
  readonly images: Uint8Array;
  /** Class of each image, `[count]`, an index into `classes`. */
  readonly labels: Int32Array;
  /** Names of the classes. */
  readonly classes: readonly string[];
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: 1 | 3;
}

/**
 * The images of `set` at `indices`, copied, in that order.
 *
 * @throws InvalidArgumentError when an index is not in `[0, count)`
 */
export function subset(set: ImageSet, indices: ArrayLike<number>): ImageSet {
  const size = set.height * set.width * set.channels;
  const images = new Uint8Array(indices.length * size);
  const labels = new Int32Array(indices.length);
  for (let i = 0; i < indices.length; i++) {
    const from = indices[i]!;
    if (!Number.isInteger(from) || from < 0 || from >= set.count) {
      throw new InvalidArgumentError('subset', `expected indices in [0, ${set.count}), got ${from} at position ${i}`);
    }
    images.set(set.images.subarray(from * size, (from + 1) * size), i * size);
    labels[i] = set.labels[from]!;
  }
  return { ...set, images, labels, count: indices.length };
}

/**
 * Disjoint random parts of a set, of the sizes asked for: the first `sizes[0]` images of a permutation of
 * (`seed`, count), then the next `sizes[1]`, and so on. The same seed gives the same parts on every machine.
 *
 * @throws InvalidArgumentError when the sizes are not positive integers or together exceed the set
 */
export function splitImages<const S extends readonly number[]>(
  set: ImageSet,
  sizes: S,
  seed: Seed,
): { readonly [K in keyof S]: ImageSet } {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const problems = [];
  for (const size of sizes) {
    if (!Number.isInteger(size) || size < 1) problems.push(`expected sizes to be positive integers, got ${size}`);
  }
  if (total > set.count) problems.push(`expected sizes that sum to at most ${set.count} images, got ${total}`);
  if (problems.length > 0) throw new InvalidArgumentError('splitImages', problems);
  const order = new NumpyRandomState(deriveSeed(seed, 'split')).permutation(set.count);
  let from = 0;
  const parts = sizes.map((size) => {
    from += size;
    return subset(set, order.slice(from - size, from));
  });
  return parts as unknown as { readonly [K in keyof S]: ImageSet };
}

/**
 * A fingerprint of a set: SHA-256 of its sizes, the names of its classes in order, its labels and its pixels. Sets that differ
 * in any of these differ in it; store it with what was trained, so that another set is not taken for the same.
 */
export function fingerprint({ images, labels, classes, count, height, width, channels }: ImageSet): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify({ count, height, width, channels, classes }));
  hash.update(new Uint8Array(Int32Array.from(labels).buffer));
  return hash.update(images).digest('hex');
}

/**
 * Pictures one after the other in one array, as grids and image sets have them.
 *
 * @throws InvalidArgumentError when there is none, or they are not of one size
 */
export function stackPictures(
  pictures: readonly Bitmap[],
): Pick<ImageSet, 'images' | 'count' | 'height' | 'width' | 'channels'> {
  const [first] = pictures;
  if (first === undefined) throw new InvalidArgumentError('stackPictures', 'expected at least one picture');
  const { height, width, channels } = first;
  const sizes = new Set(pictures.map((picture) => `${picture.height} x ${picture.width} x ${picture.channels}`));
  if (sizes.size > 1) {
    throw new InvalidArgumentError('stackPictures', `expected pictures of one size, got ${[...sizes].join(', ')}`);
  }
  const images = new Uint8Array(pictures.length * first.data.length);
  pictures.forEach(({ data }, i) => {
    images.set(data, i * first.data.length);
  });
  return { images, count: pictures.length, height, width, channels };
}
