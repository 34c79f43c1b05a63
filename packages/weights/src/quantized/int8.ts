import type { HostTensor } from '@mezzotint/core';

/** What a quantised weight's name is followed by for its scales, in ComfyUI's form. */
const SCALE = '_scale';

/** Largest code: -128 is left out, so that codes are symmetric. */
const MOST = 127;

/** Weights of layers: matrices, filters and tables of embeddings. Biases, norms and other small tensors are not rounded so far. */
export function isQuantizable(name: string, shape: readonly number[]): boolean {
  return name.endsWith('.weight') && shape.length >= 2;
}

/** The name of the scales of a weight. */
export function scaleName(weight: string): string {
  return `${weight}${SCALE}`;
}

/**
 * The scales of a weight `[rows, ...]` in 8 bits, the largest magnitude of each row / 127.
 *
 * @throws RangeError for a number that is not finite
 */
export function rowScales({ shape, data }: HostTensor): Float32Array {
  const rows = shape[0]!;
  const row = data.length / rows;
  return Float32Array.from({ length: rows }, (_, r) => {
    let most = 0;
    for (let i = r * row; i < (r + 1) * row; i++) {
      const magnitude = Math.abs(data[i]!);
      if (!(magnitude < Infinity)) throw new RangeError(`element ${i} is ${data[i]}, which no scale fits`);
      if (magnitude > most) most = magnitude;
    }
    return most / MOST;
  });
}

/** A weight in 8 bits: `weight ~ codes * scales`, off by half a scale at most. Throws as {@link rowScales}. */
export function rowCodes(weight: HostTensor): Int8Array {
  const { data } = weight;
  const scales = rowScales(weight);
  const row = data.length / scales.length;
  const codes = new Int8Array(data.length);
  for (const [r, scale] of scales.entries()) {
    if (scale === 0) continue; // nothing, or too small for float32
    for (let i = r * row; i < (r + 1) * row; i++) {
      codes[i] = Math.max(-MOST, Math.min(MOST, Math.round(data[i]! / scale)));
    }
  }
  return codes;
}
