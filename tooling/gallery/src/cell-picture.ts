import type { Bitmap } from '@mezzotint/data';

const side = 28;

/** The first ten samples (digits 0 to 9) side by side, `[28, 280]` bytes; grey where there are none. */
export function cellPicture(sampled: readonly Bitmap[] | undefined): Uint8Array {
  const picture = new Uint8Array(side * side * 10).fill(128);
  sampled?.slice(0, 10).forEach(({ data }, digit) => {
    for (let y = 0; y < side; y++) {
      picture.set(data.subarray(y * side, (y + 1) * side), y * side * 10 + digit * side);
    }
  });
  return picture;
}
