/** Sixteen-bit floats, widened inside the graph. */
export type SixteenBit = 'float16' | 'bfloat16';

/** Elements in fewer bits than float32. */
export type Narrow = { readonly kind: SixteenBit; readonly data: Uint16Array } | Blocks;

/** Rows `[N, K]` in blocks of `block` along K with one scale each: w = (q - zero) scale, zero = 2^(bits - 1). */
export interface Blocks {
  readonly kind: 'blocks';
  readonly bits: 4 | 8;
  readonly block: number;
  readonly packed: Uint8Array;
  /** Numbers, or the bits of float16. */
  readonly scales: Float32Array | Uint16Array;
  /** Stands for these numbers in the cache keys of programs that have them as constants. */
  readonly id: number;
  /** True: the other operand is rounded to 8 bits too, and the products are integer ones. */
  readonly integer: boolean;
  /** Codes are fed to programs, whatever `isConstant` says of others: one program for all layers that are alike. */
  readonly fed: boolean;
}

const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);
let blocksMade = 0;

/** The largest |x|, NaN where there is one: without their signs, floats are in the order of their bits, NaN last. */
export function largestMagnitude(data: Float32Array): number {
  const signed = new Int32Array(data.buffer, data.byteOffset, data.length);
  let most = 0;
  for (let i = 0; i < signed.length; i++) {
    const magnitude = signed[i]! & 0x7fffffff;
    if (magnitude > most) most = magnitude;
  }
  bits[0] = most;
  return word[0]!;
}

/** Rounds to nearest, ties to even. */
export function encode16(data: Float32Array, kind: SixteenBit): Uint16Array {
  const out = new Uint16Array(data.length);
  const encode = kind === 'float16' ? toHalf : toBrain;
  for (let i = 0; i < data.length; i++) out[i] = encode(data[i]!);
  return out;
}

export function decode16(data: Uint16Array, kind: SixteenBit): Float32Array {
  const out = new Float32Array(data.length);
  const decode = kind === 'float16' ? fromHalf : fromBrain;
  for (let i = 0; i < data.length; i++) out[i] = decode(data[i]!);
  return out;
}

/** All 65,536 bfloat16 numbers, by their bits. */
export function brainTable(): Float32Array {
  return decode16(
    Uint16Array.from({ length: 65536 }, (_, index) => index),
    'bfloat16',
  );
}

/** Symmetric rounding of rows `[N, K]` in blocks along K, each to its own largest magnitude. K is whole blocks. */
export function encodeBlocks(
  data: Float32Array,
  width: 4 | 8,
  block: number,
  { integer = false, fed = false }: Partial<Pick<Blocks, 'integer' | 'fed'>> = {},
): Blocks {
  const count = data.length / block;
  const scales = new Float32Array(count);
  const zero = 2 ** (width - 1);
  const packed = new Uint8Array((data.length * width) / 8);
  for (let b = 0, at = 0; b < count; b++) {
    let most = 0;
    for (let i = 0; i < block; i++) if (Math.abs(data[at + i]!) > Math.abs(most)) most = data[at + i]!;
    // The largest number takes the code 0, whose magnitude is one step larger than that of the largest code.
    const scale = Math.fround(-most / zero);
    scales[b] = scale;
    for (let i = 0; i < block; i++, at++) {
      const q = scale === 0 ? zero : Math.min(2 * zero - 1, Math.max(0, Math.round(data[at]! / scale) + zero));
      if (width === 8) packed[at] = q;
      else packed[at >> 1]! |= (at & 1) === 0 ? q : q << 4;
    }
  }
  return { kind: 'blocks', bits: width, block, packed, scales, id: blocksMade++, integer, fed };
}

/** Blocks of 32 that a file holds: codes, and the bits of float16 scales. They are fed. */
export function storedBlocks(packed: Uint8Array, scales: Uint16Array, width: 4 | 8): Blocks {
  return { kind: 'blocks', bits: width, block: 32, packed, scales, id: blocksMade++, integer: false, fed: true };
}

/** The elements as float32, in the order in which they are stored. */
export function widen(narrow: Narrow): Float32Array {
  if (narrow.kind !== 'blocks') return decode16(narrow.data, narrow.kind);
  const { bits: width, block, packed } = narrow;
  const scales = narrow.scales instanceof Uint16Array ? decode16(narrow.scales, 'float16') : narrow.scales;
  const zero = 2 ** (width - 1);
  const out = new Float32Array((packed.length * 8) / width);
  for (let i = 0; i < out.length; i++) {
    const q = width === 8 ? packed[i]! : (packed[i >> 1]! >> ((i & 1) * 4)) & 15;
    out[i] = (q - zero) * scales[Math.floor(i / block)]!;
  }
  return out;
}

/**
 * True where elements are constants of the programs that read them, instead of being fed: ONNX Runtime's kernels for 4 bits
 * and for integer products arrange constant codes for themselves, and are up to 20 times as fast then. For 8 bits
 * and float32 products it has no such kernel, and a constant would be a second copy for nothing.
 */
export function isConstant({ bits, integer, fed }: Blocks): boolean {
  return !fed && (bits === 4 || integer);
}

/** Bytes that it takes. */
export function narrowBytes(narrow: Narrow): number {
  return narrow.kind === 'blocks' ? narrow.packed.byteLength + narrow.scales.byteLength : narrow.data.byteLength;
}

function toBrain(value: number): number {
  word[0] = value;
  const u = bits[0]!;
  if ((u & 0x7fffffff) > 0x7f800000) return (u >>> 16) | 0x40; // NaN stays NaN
  return (u + 0x7fff + ((u >>> 16) & 1)) >>> 16;
}

function fromBrain(half: number): number {
  bits[0] = half << 16;
  return word[0]!;
}

function toHalf(value: number): number {
  word[0] = value;
  const u = bits[0]!;
  const sign = (u >>> 16) & 0x8000;
  const magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // rounds to beyond 65504: infinity
  if (magnitude < 0x38800000) {
    // Subnormal: whole multiples of 2^-24; adding 0.5 leaves them, rounded, in the low bits.
    word[0] = Math.abs(value) + 0.5;
    return sign | (bits[0]! - 0x3f000000);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

function fromHalf(half: number): number {
  const exponent = (half >>> 10) & 31;
  const fraction = half & 1023;
  const sign = half & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
