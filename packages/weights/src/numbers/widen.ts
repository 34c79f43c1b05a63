import { BYTES_PER_ELEMENT, type DType } from './dtypes.js';

/**
 * Little-endian elements -> float32 (floats) or int32 (integers and booleans). Exact but for F64, which is rounded to
 * the nearest float32, ties to even; NaN stays NaN, infinities and subnormals stay themselves.
 *
 * `bytes` must start at offset 0 of its own buffer; the answer may share that buffer.
 * Throws a RangeError for an integer that int32 cannot hold and for a BOOL that is neither 0 nor 1.
 */
export function widen(bytes: Uint8Array<ArrayBuffer>, dtype: DType): Float32Array | Int32Array {
  const count = bytes.byteLength / BYTES_PER_ELEMENT[dtype];
  const { buffer } = bytes;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, 0, count);
    case 'F64':
      return new Float32Array(new Float64Array(buffer, 0, count));
    case 'F16':
      return lookUp(new Uint16Array(buffer, 0, count), halfTable());
    case 'BF16':
      return fromBfloat16(new Uint16Array(buffer, 0, count));
    case 'F8_E4M3':
      return lookUp(bytes, float8E4M3Table());
    case 'F8_E5M2':
      return lookUp(bytes, float8E5M2Table());
    case 'I64':
      return fromInt64(new Int32Array(buffer, 0, 2 * count));
    case 'U64':
      return fromUint64(new Int32Array(buffer, 0, 2 * count));
    case 'I32':
      return new Int32Array(buffer, 0, count);
    case 'U32':
      return fromUint32(new Int32Array(buffer, 0, count));
    case 'I16':
      return Int32Array.from(new Int16Array(buffer, 0, count));
    case 'U16':
      return Int32Array.from(new Uint16Array(buffer, 0, count));
    case 'I8':
      return Int32Array.from(new Int8Array(buffer, 0, count));
    case 'U8':
      return Int32Array.from(bytes);
    case 'BOOL':
      return fromBool(bytes);
  }
}

/** Turns the bytes of every element around, in place: big-endian files. */
export function swapByteOrder(bytes: Uint8Array, width: number): void {
  if (width === 1) return;
  for (let at = 0; at + width <= bytes.length; at += width) bytes.subarray(at, at + width).reverse();
}

function lookUp(codes: Uint8Array | Uint16Array, table: Uint32Array): Float32Array {
  // Through integers, so that the payload of a NaN survives.
  const bits = new Uint32Array(codes.length);
  for (let i = 0; i < codes.length; i++) bits[i] = table[codes[i]!]!;
  return new Float32Array(bits.buffer);
}

function fromBfloat16(codes: Uint16Array): Float32Array {
  const bits = new Uint32Array(codes.length);
  for (let i = 0; i < codes.length; i++) bits[i] = codes[i]! << 16;
  return new Float32Array(bits.buffer);
}

function fromInt64(words: Int32Array): Int32Array {
  const out = new Int32Array(words.length / 2);
  for (let i = 0; i < out.length; i++) {
    const low = words[2 * i]!;
    if (words[2 * i + 1] !== low >> 31) throw tooLarge(i, (BigInt(words[2 * i + 1]!) << 32n) | BigInt(low >>> 0));
    out[i] = low;
  }
  return out;
}

function fromUint64(words: Int32Array): Int32Array {
  const out = new Int32Array(words.length / 2);
  for (let i = 0; i < out.length; i++) {
    const low = words[2 * i]!;
    const high = words[2 * i + 1]!;
    if (high !== 0 || low < 0) throw tooLarge(i, (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
    out[i] = low;
  }
  return out;
}

function fromUint32(words: Int32Array): Int32Array {
  for (let i = 0; i < words.length; i++) if (words[i]! < 0) throw tooLarge(i, BigInt(words[i]! >>> 0));
  return words;
}

function fromBool(bytes: Uint8Array): Int32Array {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i]! > 1) throw new RangeError(`element ${i} of a BOOL tensor is ${bytes[i]}, expected 0 or 1`);
  }
  return Int32Array.from(bytes);
}

function tooLarge(index: number, value: bigint): RangeError {
  return new RangeError(`element ${index} is ${value}, which int32 cannot hold`);
}

/**
 * Float32 bits of every code of a small float with `exponentBits` and `mantissaBits` and IEEE 754's rules for
 * subnormals; `ieeeSpecials`: the largest exponent holds infinities and NaN.
 */
function smallFloatTable(exponentBits: number, mantissaBits: number, ieeeSpecials: boolean): Uint32Array {
  const table = new Uint32Array(2 ** (1 + exponentBits + mantissaBits));
  const values = new Float32Array(table.buffer);
  const bias = 2 ** (exponentBits - 1) - 1;
  const top = 2 ** exponentBits - 1;
  for (let code = 0; code < table.length; code++) {
    const negative = code >> (exponentBits + mantissaBits) === 1;
    const exponent = (code >> mantissaBits) & top;
    const fraction = code & (2 ** mantissaBits - 1);
    if (ieeeSpecials && exponent === top) {
      table[code] = ((negative ? 0xff80_0000 : 0x7f80_0000) | (fraction << (23 - mantissaBits))) >>> 0;
    } else {
      const implicit = exponent === 0 ? 0 : 2 ** mantissaBits;
      const value = (implicit + fraction) * 2 ** (Math.max(exponent, 1) - bias - mantissaBits);
      values[code] = negative ? -value : value; // exact in float32; -0 keeps its sign
    }
  }
  return table;
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** IEEE 754 binary16. */
const halfTable = once(() => smallFloatTable(5, 10, true));

/** OCP 8-bit float E5M2: IEEE rules. Micikevicius et al. 2022, table 1. */
const float8E5M2Table = once(() => smallFloatTable(5, 2, true));

/** OCP 8-bit float E4M3 ("fn"): no infinities, NaN only at S.1111.111, largest number 448. Same table. */
const float8E4M3Table = once(() => {
  const table = smallFloatTable(4, 3, false);
  table[0x7f] = 0x7fc0_0000;
  table[0xff] = 0xffc0_0000;
  return table;
});
