import type { FloatDType } from './dtypes.js';

/**
 * Float32 -> little-endian bytes of a float type, rounded to nearest, ties to even. NaN and infinities stay.
 * Throws a RangeError for a finite number that the type cannot hold.
 */
export function narrow(values: Float32Array, dtype: FloatDType): Uint8Array {
  switch (dtype) {
    case 'F32':
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    case 'F16':
      return toHalf(values);
    case 'BF16':
      return toBfloat16(values);
  }
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

function toBfloat16(values: Float32Array): Uint8Array {
  const bits = bitsOf(values);
  const out = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    if ((b & 0x7fff_ffff) > 0x7f80_0000) {
      out[i] = (b >>> 16) | 0x40; // quiet, so that a payload in the lost bits does not turn into infinity
      continue;
    }
    const rounded = (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
    if ((rounded & 0x7fff) === 0x7f80 && (b & 0x7fff_ffff) !== 0x7f80_0000) throw overflow(values[i]!, i, 'BF16');
    out[i] = rounded;
  }
  return new Uint8Array(out.buffer);
}

function toHalf(values: Float32Array): Uint8Array {
  const bits = bitsOf(values);
  const out = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    const sign = (b >>> 16) & 0x8000;
    const magnitude = b & 0x7fff_ffff;
    if (magnitude > 0x7f80_0000) {
      out[i] = sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff);
    } else if (magnitude === 0x7f80_0000) {
      out[i] = sign | 0x7c00;
    } else if (magnitude >= 0x477f_f000) {
      throw overflow(values[i]!, i, 'F16'); // 65520 and above round to infinity
    } else if (magnitude >= 0x3880_0000) {
      // Normal: rebias the exponent by 127 - 15 and round 13 bits away.
      out[i] = sign | ((magnitude - 0x3800_0000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    } else if (magnitude <= 0x3300_0000) {
      out[i] = sign; // up to 2^-25, half of the smallest subnormal
    } else {
      // Subnormal: units of 2^-24.
      const shift = 126 - (magnitude >>> 23);
      const mantissa = (magnitude & 0x7f_ffff) | 0x80_0000;
      const half = 2 ** (shift - 1);
      const rest = mantissa & (2 ** shift - 1);
      const floor = mantissa >>> shift;
      out[i] = sign | (floor + (rest > half || (rest === half && (floor & 1) === 1) ? 1 : 0));
    }
  }
  return new Uint8Array(out.buffer);
}

function overflow(value: number, index: number, dtype: FloatDType): RangeError {
  return new RangeError(`element ${index} is ${value}, which ${dtype} cannot hold; write it as F32`);
}
