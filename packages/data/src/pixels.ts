import { MezzotintError, notFinite } from '@mezzotint/core';

/** Bytes to the range of the models: `x / 127.5 - 1`, so 0 is -1 and 255 is 1. Same length and order. */
export function toFloat(bytes: Uint8Array): Float32Array {
  const out = new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) out[i] = bytes[i]! / 127.5 - 1;
  return out;
}

/**
 * Model values to bytes: `round((x + 1) * 127.5)` clipped to 0..255; exact inverse of {@link toFloat}.
 *
 * @throws MezzotintError `MEZZOTINT_NOT_FINITE` for NaN and infinities, which are no picture: a black one would hide them
 */
export function toBytes(values: Float32Array): Uint8Array {
  const problem = notFinite({ data: values });
  if (problem !== undefined) throw new MezzotintError('MEZZOTINT_NOT_FINITE', `A picture cannot be made: ${problem}`);
  const out = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const byte = Math.round((values[i]! + 1) * 127.5);
    out[i] = byte > 0 ? Math.min(byte, 255) : 0;
  }
  return out;
}
