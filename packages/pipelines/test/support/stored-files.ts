import { readFileSync, writeFileSync } from 'node:fs';
import { type HostTensor, sizeOf, type WeightSource } from '@mezzotint/core';
import { type fluxKeyMap, type KeyMap, type Side, type sd3KeyMap, translate, type vaeKeyMap } from '@mezzotint/weights';
import { readWeights } from '@mezzotint/weights/node';

/** Weights by name. */
export type Tensors = Record<string, HostTensor>;

/** A tensor as it lies in a file. */
export interface Stored {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A part of a folder of diffusers, in the names of the original files. */
export async function originalOf(folder: string, map?: typeof sd3KeyMap | typeof fluxKeyMap | typeof vaeKeyMap) {
  const file = await readWeights(folder);
  const names = [...file.tensors.keys()];
  const source: WeightSource = map
    ? translate(file, (map as (n: string[], s: Side) => KeyMap)(names, 'right'), 'right')
    : file;
  const tensors: Tensors = {};
  for (const name of source.tensors.keys()) tensors[name] = await source.read(name);
  file.close();
  return tensors;
}

/** Tensors below a prefix. */
export function below<T>(prefix: string, tensors: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [prefix + name, tensor]));
}

/** Plain float32. */
export function plain({ shape, data }: HostTensor): Stored {
  return { dtype: 'F32', shape, bytes: new Uint8Array(Float32Array.from(data).buffer) };
}

/** A safetensors file, in any of the format's types. */
export function writeStored(path: string, tensors: Readonly<Record<string, Stored>>): void {
  let at = 0;
  const header = Object.entries(tensors).map(([name, { dtype, shape, bytes }]) => {
    at += bytes.length;
    return [name, { dtype, shape, data_offsets: [at - bytes.length, at] }];
  });
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = new Uint8Array(BigUint64Array.of(BigInt(json.length)).buffer);
  writeFileSync(path, Buffer.concat([length, json, ...Object.values(tensors).map(({ bytes }) => bytes)]));
}

/** How weights are stored, and what they are then. */
export interface Scheme {
  /** The tensors that stand for a matrix `name`, and the matrix that they are, by the tool's own formula. */
  store(name: string, matrix: HostTensor): { readonly stored: Record<string, Stored>; readonly wide: HostTensor };
  /** Tensors that the file has beside. */
  readonly marks?: Readonly<Record<string, Stored>>;
}

/** Floats of 8 bits: sign, exponent, mantissa; e4m3 has no infinities. */
const FLOAT8 = { F8_E4M3: { mantissa: 3, bias: 7 }, F8_E5M2: { mantissa: 2, bias: 15 } } as const;
type Float8 = keyof typeof FLOAT8;

function float8Table(dtype: Float8): Float64Array {
  const { mantissa, bias } = FLOAT8[dtype];
  return Float64Array.from({ length: 256 }, (_, code) => {
    const exponent = (code & 127) >> mantissa;
    const fraction = (code & ((1 << mantissa) - 1)) / (1 << mantissa);
    const isNumber = dtype === 'F8_E4M3' ? (code & 127) !== 127 : exponent !== 31;
    const size = exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias);
    return isNumber ? (code > 127 ? -size : size) : Number.NaN;
  });
}

/** The number of a table's nearest entry. */
function nearest(table: ArrayLike<number>, value: number): number {
  let best = 0;
  for (let i = 1; i < table.length; i++)
    if (Math.abs(table[i]! - value) < Math.abs(table[best]! - value) || Number.isNaN(table[best]!)) best = i;
  return best;
}

/** ComfyUI's plain cast, or with a scale for each matrix. */
export function float8(dtype: Float8, scaled: boolean): Scheme {
  const table = float8Table(dtype);
  return {
    store: (name, { shape, data }) => {
      const most = (data as Float32Array).reduce((m, x) => Math.max(m, Math.abs(x)), 0);
      const scale = scaled ? Math.fround(most / 448) : 1;
      const codes = Uint8Array.from(data, (x) => nearest(table, x / scale));
      return {
        stored: {
          [name]: { dtype, shape, bytes: codes },
          ...(scaled && {
            [name.replace(/weight$/, 'scale_weight')]: plain({ shape: [], data: Float32Array.of(scale) }),
          }),
        },
        wide: { shape, data: Float32Array.from(codes, (code) => table[code]! * scale) },
      };
    },
    ...(scaled && { marks: { scaled_fp8: { dtype, shape: [2], bytes: new Uint8Array(2) } } }),
  };
}

/** The quantiles of a normal that NF4 has. Dettmers et al. 2023, appendix E. */
const NF4 = [
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334],
  ...[-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
  ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
];

/** bitsandbytes' NF4 in blocks of 64. */
export const nf4: Scheme = {
  store: (name, { shape, data }) => {
    const blocks = Math.ceil(data.length / 64);
    const absmax = Float32Array.from({ length: blocks }, (_, b) =>
      Math.max(...Array.from(data.subarray(64 * b, 64 * b + 64), Math.abs)),
    );
    const codes = Array.from(data, (x, i) => nearest(NF4, x / absmax[i >> 6]!));
    const bytes = Uint8Array.from({ length: data.length / 2 }, (_, i) => (codes[2 * i]! << 4) | codes[2 * i + 1]!);
    const state = { quant_type: 'nf4', blocksize: 64, dtype: 'float16', shape };
    const json = new TextEncoder().encode(JSON.stringify(state));
    return {
      stored: {
        [name]: { dtype: 'U8', shape: [bytes.length, 1], bytes },
        [`${name}.absmax`]: plain({ shape: [blocks], data: absmax }),
        [`${name}.quant_map`]: plain({ shape: [16], data: Float32Array.from(NF4) }),
        [`${name}.quant_state.bitsandbytes__nf4`]: { dtype: 'U8', shape: [json.length], bytes: json },
      },
      wide: { shape, data: Float32Array.from(codes, (code, i) => Math.fround(NF4[code]!) * absmax[i >> 6]!) },
    };
  },
};

/** ComfyUI's INT8 with rows rotated in groups of 16 (ConvRot) by the Kronecker square of the regular Hadamard matrix. */
export const int8ConvRot: Scheme = {
  store: (name, { shape, data }) => {
    const [rows, columns] = shape as [number, number];
    const h4 = (i: number, j: number) => (i + j === 3 ? -0.5 : 0.5);
    const turn = (row: ArrayLike<number>) =>
      Float64Array.from({ length: columns }, (_, c) => {
        const [group, i] = [c - (c % 16), c % 16];
        let sum = 0;
        for (let j = 0; j < 16; j++) sum += row[group + j]! * h4(i >> 2, j >> 2) * h4(i & 3, j & 3);
        return sum;
      });
    const codes = new Int8Array(rows * columns);
    const scales = new Float32Array(rows);
    const wide = new Float32Array(rows * columns);
    for (let r = 0; r < rows; r++) {
      const turned = turn(data.subarray(r * columns, (r + 1) * columns));
      scales[r] = Math.max(...turned.map(Math.abs)) / 127;
      const row = Int8Array.from(turned, (x) => Math.round(x / scales[r]!));
      codes.set(row, r * columns);
      wide.set(turn(Float64Array.from(row, (q) => q * scales[r]!)), r * columns);
    }
    const about = { format: 'int8_tensorwise', convrot: true, convrot_groupsize: 16 };
    const json = new TextEncoder().encode(JSON.stringify(about));
    const layer = name.replace(/weight$/, '');
    return {
      stored: {
        [name]: { dtype: 'I8', shape, bytes: new Uint8Array(codes.buffer) },
        [`${layer}weight_scale`]: plain({ shape: [rows, 1], data: scales }),
        [`${layer}comfy_quant`]: { dtype: 'U8', shape: [json.length], bytes: json },
      },
      wide: { shape, data: wide },
    };
  },
};

/** Stores the matrices of a model by a scheme, all else plainly; and what the weights are then. */
export function storedBy({ store, marks = {} }: Scheme, tensors: Tensors, isStored = isMatrix) {
  const stored: Record<string, Stored> = { ...marks };
  const wide: Tensors = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    const one = isStored(name, tensor) ? store(name, tensor) : { stored: { [name]: plain(tensor) }, wide: tensor };
    Object.assign(stored, one.stored);
    wide[name] = one.wide;
  }
  return { stored, wide };
}

function isMatrix(_: string, { shape }: HostTensor): boolean {
  return shape.length === 2 && shape[1]! % 16 === 0;
}

/** ggml's types of blocks: number, elements and bytes of one. */
const GGML = {
  F32: [0, 1, 4],
  F16: [1, 1, 2],
  Q2_K: [10, 256, 84],
  Q3_K: [11, 256, 110],
  Q4_K: [12, 256, 144],
  Q5_K: [13, 256, 176],
  Q6_K: [14, 256, 210],
} as const;
export type GgmlType = keyof typeof GGML;

/** Where a block has its scales as halves: random bytes must not be infinite there, nor large. */
const HALVES: Partial<Record<GgmlType, readonly number[]>> = {
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
};

/** A GGUF file whose matrices of whole blocks hold random blocks of the given types in turn, all else as it is, in F32. */
export function writeGguf(path: string, tensors: Tensors, types: readonly GgmlType[], architecture?: string): void {
  const parts: Uint8Array[] = [];
  const push = (...bytes: Uint8Array[]) => parts.push(...bytes);
  const u32 = (n: number) => push(new Uint8Array(Uint32Array.of(n).buffer));
  const u64 = (n: number) => push(new Uint8Array(BigUint64Array.of(BigInt(n)).buffer));
  const text = (s: string) => {
    const bytes = new TextEncoder().encode(s);
    u64(bytes.length);
    push(bytes);
  };
  push(new TextEncoder().encode('GGUF'));
  u32(3);
  u64(Object.keys(tensors).length);
  u64(architecture === undefined ? 0 : 1);
  if (architecture !== undefined) {
    text('general.architecture');
    u32(8);
    text(architecture);
  }
  let offset = 0;
  const data: Uint8Array[] = [];
  Object.entries(tensors).forEach(([name, tensor], i) => {
    const { shape } = tensor;
    const isBlocks = shape.length === 2 && shape[1]! % 256 === 0;
    const type = isBlocks ? types[i % types.length]! : 'F32';
    const [number, elements, size] = GGML[type];
    const bytes = isBlocks ? randomBlocks(type, (sizeOf(shape) / elements) * size, size, i) : plain(tensor).bytes;
    text(name);
    u32(shape.length);
    for (const d of [...shape].reverse()) u64(d);
    u32(number);
    u64(offset);
    const length = Math.ceil(bytes.length / 32) * 32;
    data.push(bytes, new Uint8Array(length - bytes.length));
    offset += length;
  });
  const head = Buffer.concat(parts);
  writeFileSync(path, Buffer.concat([head, new Uint8Array((32 - (head.length % 32)) % 32), ...data]));
}

function randomBlocks(type: GgmlType, length: number, size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0, state = 2654435761 * (seed + 1); i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  // 2^-14 or so for products of two scales, 2^-9 for one of six bits: weights of about a tenth.
  const high = type === 'Q6_K' || type === 'Q3_K' ? 0x04 : 0x08;
  for (let block = 0; block < length; block += size) {
    for (const at of HALVES[type] ?? []) bytes.set([0, high], block + at);
  }
  return bytes;
}

/** All weights of a file, dequantised. */
export async function widened(path: string): Promise<Tensors> {
  const file = await readWeights(path);
  const tensors: Tensors = {};
  for (const name of file.tensors.keys()) tensors[name] = await file.read(name);
  file.close();
  return tensors;
}

/** JSON of a file. */
export function jsonOf(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path, 'utf8'));
}
