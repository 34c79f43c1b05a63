import type { SampledImages } from '@mezzotint/app';

const side = 28;

/** The first ten samples (digits 0 to 9) side by side, `[28, 280]` bytes; grey where there are none. */
export function cellPicture(sampled: SampledImages | undefined): Uint8Array {
  const picture = new Uint8Array(side * side * 10).fill(128);
  if (sampled === undefined) return picture;
  for (let digit = 0; digit < 10; digit++) {
    for (let y = 0; y < side; y++) {
      const from = (digit * side + y) * side;
      picture.set(sampled.images.subarray(from, from + side), y * side * 10 + digit * side);
    }
  }
  return picture;
}
