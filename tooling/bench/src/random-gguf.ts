import { closeSync, openSync, writeSync } from 'node:fs';
import type { Param } from '@mezzotint/core';

/** How matrices are stored. */
export type GgufBlocks = 'Q4_0' | 'Q8_0' | 'F16';

/** Number of a type, bytes of 32 weights, and the deviation of random ones at scale 1. */
const TYPES = {
  Q4_0: { number: 2, bytes: 18, deviation: 4.61 },
  Q8_0: { number: 8, bytes: 34, deviation: 73.9 },
  // Halves of random sign and mantissa and one exponent.
  F16: { number: 1, bytes: 64, deviation: Math.sqrt(7 / 3) },
} as const;
const F32 = 0;
const ALIGNMENT = 32;
/** Blocks that are drawn; larger tensors repeat them. An odd number, so that rows differ. */
const DRAWN = 400_009;

/**
 * Writes a GGUF file with random weights: matrices of whole blocks with deviation 1 / sqrt(inputs), norms of ones, all else
 * zeros. It is written tensor by tensor, so that a file of any size takes the memory of one.
 */
export function writeRandomGguf(
  path: string,
  params: ReadonlyMap<string, Param>,
  blocks: GgufBlocks,
  metadata: Readonly<Record<string, string>>,
): void {
  const type = TYPES[blocks];
  const tensors = [...params].map(([name, param]) => {
    const inBlocks = param.matrix && param.shape[1]! % 32 === 0;
    return {
      name,
      shape: param.fileShape,
      inBlocks,
      bytes: inBlocks ? (param.size / 32) * type.bytes : 4 * param.size,
    };
  });
  const head = new Head();
  head.text('GGUF', false);
  head.u32(3);
  head.u64(tensors.length);
  head.u64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) {
    head.text(key);
    head.u32(8);
    head.text(value);
  }
  let offset = 0;
  for (const { name, shape, inBlocks, bytes } of tensors) {
    head.text(name);
    head.u32(shape.length);
    for (const d of [...shape].reverse()) head.u64(d);
    head.u32(inBlocks ? type.number : F32);
    head.u64(offset);
    offset += aligned(bytes);
  }
  const file = openSync(path, 'w');
  try {
    write(file, padded(head.bytes()));
    for (const { name, shape, inBlocks, bytes } of tensors) {
      if (inBlocks) repeat(file, drawn(blocks, shape[1]!), bytes);
      else if (/norm.*(?:scale|weight)$|ln_[qk]/.test(name))
        write(file, new Uint8Array(new Float32Array(bytes / 4).fill(1).buffer));
      else if (shape.length >= 2) write(file, new Uint8Array(uniforms(bytes / 4, shape).buffer));
      else write(file, new Uint8Array(bytes));
      write(file, new Uint8Array(aligned(bytes) - bytes));
    }
  } finally {
    closeSync(file);
  }
}

const tiles = new Map<string, Uint8Array>();

/** Random blocks whose weights have deviation 1 / sqrt(inputs). */
function drawn(blocks: GgufBlocks, inputs: number): Uint8Array {
  const key = `${blocks} ${inputs}`;
  let tile = tiles.get(key);
  if (tile === undefined) {
    const { bytes, deviation } = TYPES[blocks];
    tile = new Uint8Array(DRAWN * bytes);
    const words = new Uint32Array(tile.buffer, 0, Math.floor(tile.byteLength / 4));
    for (let i = 0, state = 0x9e3779b9; i < words.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[i] = state;
    }
    const scale = halfOf(1 / Math.sqrt(inputs) / deviation);
    if (blocks === 'F16') {
      const exponent = scale & 0x7c00;
      for (let i = 0; i < words.length; i++) words[i] = (words[i]! & 0x83ff83ff) | (exponent << 16) | exponent;
    } else {
      for (let at = 0; at < tile.byteLength; at += bytes) {
        tile[at] = scale & 255;
        tile[at + 1] = scale >> 8;
      }
    }
    tiles.clear();
    tiles.set(key, tile);
  }
  return tile;
}

/** U(-1, 1) sqrt(3 / fan in). */
function uniforms(count: number, shape: readonly number[]): Float32Array {
  const bound = Math.sqrt(3 / shape.slice(1).reduce((n, d) => n * d, 1));
  return Float32Array.from({ length: count }, () => (2 * Math.random() - 1) * bound);
}

/** The bits of a normal float16. */
function halfOf(value: number): number {
  const exponent = Math.floor(Math.log2(value));
  return ((exponent + 15) << 10) | Math.round((value / 2 ** exponent - 1) * 1024);
}

function repeat(file: number, tile: Uint8Array, bytes: number): void {
  for (let left = bytes; left > 0; left -= tile.byteLength)
    write(file, tile.subarray(0, Math.min(left, tile.byteLength)));
}

function write(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) done += writeSync(file, bytes, done, bytes.byteLength - done);
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function padded(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(aligned(bytes.byteLength));
  out.set(bytes);
  return out;
}

class Head {
  readonly #parts: Uint8Array[] = [];
  u32(value: number): void {
    this.#parts.push(new Uint8Array(Uint32Array.of(value).buffer));
  }
  u64(value: number): void {
    this.#parts.push(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }
  text(value: string, counted = true): void {
    const bytes = new TextEncoder().encode(value);
    if (counted) this.u64(bytes.byteLength);
    this.#parts.push(bytes);
  }
  bytes(): Uint8Array {
    return Uint8Array.from(this.#parts.flatMap((part) => [...part]));
  }
}
