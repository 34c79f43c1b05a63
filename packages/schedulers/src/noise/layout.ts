import { InvalidArgumentError } from '@mezzotint/core';

/** Moves numbers in the order of `[N, C, H, W]` to that of `shape` `[N, H, W, C]`; other ranks stay as they are. */
export function nchwToNhwc(values: Float32Array, shape: readonly number[]): Float32Array {
  if (shape.length !== 4) return values;
  const [n, h, w, c] = shape as [number, number, number, number];
  const pixels = h * w;
  if (values.length !== n * pixels * c) {
    throw new InvalidArgumentError('nchwToNhwc', `${values.length} numbers do not fill [${shape.join(', ')}]`);
  }
  const out = new Float32Array(values.length);
  for (let image = 0; image < n; image++) {
    for (let channel = 0; channel < c; channel++) {
      const from = (image * c + channel) * pixels;
      const to = image * pixels * c + channel;
      for (let p = 0; p < pixels; p++) out[to + p * c] = values[from + p]!;
    }
  }
  return out;
}
