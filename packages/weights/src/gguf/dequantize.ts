import { widen } from '../numbers/widen.js';
import { GGUF_SIZES, type GgufBlockType } from './types.js';

/**
 * Decodes one block: `bytes` from `at` on into `out` from `to` on. Products and sums are rounded to float32 in the order of
 * the `gguf` package, so that results are equal to the bit. `half` gives the float16 at an offset of the block.
 */
type Decode = (bytes: Uint8Array, at: number, out: Float32Array, to: number, half: (offset: number) => number) => void;

const { fround } = Math;

/** w = d (q - 8); d float16, then 16 bytes: elements 0 to 15 in the low halves, 16 to 31 in the high ones. */
const q4Zero: Decode = (bytes, at, out, to, half) => {
  const d = half(0);
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 2 + j]!;
    out[to + j] = d * ((q & 15) - 8);
    out[to + j + 16] = d * ((q >> 4) - 8);
  }
};

/** w = d q + m. */
const q4One: Decode = (bytes, at, out, to, half) => {
  const [d, m] = [half(0), half(2)];
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 4 + j]!;
    out[to + j] = fround(d * (q & 15)) + m;
    out[to + j + 16] = fround(d * (q >> 4)) + m;
  }
};

/** The fifth bit of element i is bit i of four bytes. */
function fifthBits(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** w = d (q - 16), q of five bits. */
const q5Zero: Decode = (bytes, at, out, to, half) => {
  const d = half(0);
  const high = fifthBits(bytes, at + 2);
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 6 + j]!;
    out[to + j] = d * (((q & 15) | (((high >>> j) & 1) << 4)) - 16);
    out[to + j + 16] = d * (((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) - 16);
  }
};

/** w = d q + m, q of five bits. */
const q5One: Decode = (bytes, at, out, to, half) => {
  const [d, m] = [half(0), half(2)];
  const high = fifthBits(bytes, at + 4);
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 8 + j]!;
    out[to + j] = fround(d * ((q & 15) | (((high >>> j) & 1) << 4))) + m;
    out[to + j + 16] = fround(d * ((q >> 4) | (((high >>> (j + 16)) & 1) << 4))) + m;
  }
};

/** w = d q, q a signed byte. */
const q8Zero: Decode = (bytes, at, out, to, half) => {
  const d = half(0);
  for (let j = 0; j < 32; j++) out[to + j] = d * ((bytes[at + 2 + j]! << 24) >> 24);
};

/** 16 groups of 16: w = d s q - dmin m, s and m of four bits, q of two. */
const q2K: Decode = (bytes, at, out, to, half) => {
  const [d, dmin] = [half(80), half(82)];
  for (let group = 0; group < 16; group++) {
    const scale = bytes[at + group]!;
    const [dl, ml] = [fround(d * (scale & 15)), fround(dmin * (scale >> 4))];
    const codes = at + 16 + (group >> 3) * 32 + (group & 1) * 16;
    const shift = ((group >> 1) & 3) * 2;
    for (let l = 0; l < 16; l++) out[to + group * 16 + l] = fround(dl * ((bytes[codes + l]! >> shift) & 3)) - ml;
  }
};

/** 16 groups of 16: w = d (s - 32) (q - 4 (1 - h)), s of six bits, q of two, h the bit of a mask. */
const q3K: Decode = (bytes, at, out, to, half) => {
  const d = half(108);
  const scales = at + 96;
  for (let group = 0; group < 16; group++) {
    const low = (bytes[scales + (group & 7)]! >> (group < 8 ? 0 : 4)) & 15;
    const high = (bytes[scales + 8 + (group & 3)]! >> (2 * (group >> 2))) & 3;
    const dl = fround(d * ((low | (high << 4)) - 32));
    const codes = at + 32 + (group >> 3) * 32 + (group & 1) * 16;
    const mask = at + (group & 1) * 16;
    const shift = ((group >> 1) & 3) * 2;
    const bit = group >> 1;
    for (let l = 0; l < 16; l++) {
      const q = ((bytes[codes + l]! >> shift) & 3) - ((bytes[mask + l]! >> bit) & 1 ? 0 : 4);
      out[to + group * 16 + l] = dl * q;
    }
  }
};

/** Scale and minimum of group j, of six bits each, out of 12 bytes. */
function scaleAndMinimum(bytes: Uint8Array, at: number, j: number): [number, number] {
  if (j < 4) return [bytes[at + j]! & 63, bytes[at + j + 4]! & 63];
  const both = bytes[at + j + 4]!;
  return [(both & 15) | ((bytes[at + j - 4]! >> 6) << 4), (both >> 4) | ((bytes[at + j]! >> 6) << 4)];
}

/** 8 groups of 32: w = d s q - dmin m, s and m of six bits, q of four. */
const q4K: Decode = (bytes, at, out, to, half) => {
  const [d, dmin] = [half(0), half(2)];
  for (let group = 0; group < 8; group++) {
    const [s, m] = scaleAndMinimum(bytes, at + 4, group);
    const [dl, ml] = [fround(d * s), fround(dmin * m)];
    const codes = at + 16 + (group >> 1) * 32;
    const shift = (group & 1) * 4;
    for (let l = 0; l < 32; l++) out[to + group * 32 + l] = fround(dl * ((bytes[codes + l]! >> shift) & 15)) - ml;
  }
};

/** 8 groups of 32: as Q4_K with a fifth bit. */
const q5K: Decode = (bytes, at, out, to, half) => {
  const [d, dmin] = [half(0), half(2)];
  for (let group = 0; group < 8; group++) {
    const [s, m] = scaleAndMinimum(bytes, at + 4, group);
    const [dl, ml] = [fround(d * s), fround(dmin * m)];
    const codes = at + 48 + (group >> 1) * 32;
    const shift = (group & 1) * 4;
    for (let l = 0; l < 32; l++) {
      const q = ((bytes[codes + l]! >> shift) & 15) | (((bytes[at + 16 + l]! >> group) & 1) << 4);
      out[to + group * 32 + l] = fround(dl * q) - ml;
    }
  }
};

/** 16 groups of 16: w = d s (q - 32), s a signed byte, q of six bits: four low ones and two high ones. */
const q6K: Decode = (bytes, at, out, to, half) => {
  const d = half(208);
  for (let group = 0; group < 16; group++) {
    const dl = fround(d * ((bytes[at + 192 + group]! << 24) >> 24));
    const [side, quarter] = [group >> 3, (group >> 1) & 3];
    const low = at + side * 64 + (quarter & 1) * 32 + (group & 1) * 16;
    const high = at + 128 + side * 32 + (group & 1) * 16;
    for (let l = 0; l < 16; l++) {
      const q = ((bytes[low + l]! >> (quarter < 2 ? 0 : 4)) & 15) | (((bytes[high + l]! >> (2 * quarter)) & 3) << 4);
      out[to + group * 16 + l] = dl * (q - 32);
    }
  }
};

const DECODERS: Readonly<Record<GgufBlockType, Decode>> = {
  Q4_0: q4Zero,
  Q4_1: q4One,
  Q5_0: q5Zero,
  Q5_1: q5One,
  Q8_0: q8Zero,
  Q2_K: q2K,
  Q3_K: q3K,
  Q4_K: q4K,
  Q5_K: q5K,
  Q6_K: q6K,
};

/** Blocks as float32, equal to the `gguf` package's `dequantize` to the bit. `bytes` are whole blocks. */
export function dequantizeBlocks(bytes: Uint8Array, type: GgufBlockType): Float32Array {
  const size = GGUF_SIZES[type];
  const blocks = bytes.byteLength / size.bytes;
  const out = new Float32Array(blocks * size.elements);
  const decode = DECODERS[type];
  let at = 0;
  const half = (offset: number) => HALVES()[bytes[at + offset]! | (bytes[at + offset + 1]! << 8)]!;
  for (let block = 0; block < blocks; block++, at += size.bytes) decode(bytes, at, out, block * size.elements, half);
  return out;
}

/** All float16 numbers by their bits. */
const HALVES = (() => {
  let table: Float32Array | undefined;
  return () => {
    table ??= widen(new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer), 'F16') as Float32Array;
    return table;
  };
})();
