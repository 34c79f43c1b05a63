import { readFileSync } from 'node:fs';
import { MezzotintError, sizeOf, type WeightSource } from '@mezzotint/core';
import {
  bytesSource,
  dequantized,
  openGguf,
  openNpy,
  openNpz,
  openSafetensorsSync,
  openTorch,
  parseShardIndex,
} from '@mezzotint/weights';

/** A format, files of it to start from, and how one is opened. */
export interface FuzzedFormat {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  open(bytes: Uint8Array): Promise<WeightSource>;
}

/** What came of mutated files. */
export interface FuzzReport {
  readonly format: string;
  readonly files: number;
  /** Files that were refused with an error of ours. */
  readonly refused: number;
  /** Files that were read, every tensor of the shape it says. */
  readonly read: number;
  /** CPU milliseconds of the slowest file: other programs do not count. */
  readonly slowest: number;
  /** Largest array that one file made the reader ask for, over the size of the file. */
  readonly mostMemory: number;
  readonly problems: readonly string[];
}

const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url)));

/** The formats and their seeds: files of the reference writers. */
export function openFormats(): FuzzedFormat[] {
  const torch = (...names: string[]) => ({
    seeds: names.map((name) => fixture(`torch/${name}`)),
    // Checksums off, or almost every mutation would end there.
    open: (bytes: Uint8Array) => openTorch(bytesSource(bytes), { checksums: false }),
  });
  return [
    {
      name: 'safetensors',
      seeds: [safetensorsSeed()],
      open: async (bytes) => openSafetensorsSync(bytesSource(bytes)),
    },
    { name: 'torch zip', ...torch('dtypes.pt', 'views.pt', 'training.pt', 'hostile.ckpt') },
    { name: 'torch legacy', ...torch('dtypes-legacy.pt', 'views-legacy.pt') },
    { name: 'torch module', ...torch('module.pkl') },
    {
      name: 'npz',
      seeds: ['plain.npz', 'packed.npz', 'dtypes.npz'].map((name) => fixture(`numpy/${name}`)),
      open: (bytes) => openNpz(bytesSource(bytes)),
    },
    { name: 'gguf', seeds: [fixture('gguf/blocks.gguf')], open: (bytes) => openGguf(bytesSource(bytes)) },
    {
      name: 'quantised safetensors',
      seeds: [fixture('quantized/stored.safetensors')],
      open: async (bytes) => dequantized(openSafetensorsSync(bytesSource(bytes))),
    },
    { name: 'npy', seeds: [fixture('numpy/one.npy')], open: (bytes) => openNpy(bytesSource(bytes)) },
    {
      name: 'shard index',
      seeds: [
        new TextEncoder().encode(
          '{"metadata":{"total_size":8},"weight_map":{"a":"x-1.safetensors","b":"x-2.safetensors"}}',
        ),
      ],
      open: async (bytes) => {
        parseShardIndex('index', new TextDecoder().decode(bytes));
        return { name: 'index', tensors: new Map(), read: () => Promise.reject(new Error('empty')) };
      },
    },
  ];
}

/** What a reader may take whatever the size of the file: windows and code tables. */
const SMALL_FILE = 65536;

/** Opens and reads `count` mutations of a format's seeds. */
export async function runFuzz(format: FuzzedFormat, count: number, seed: number): Promise<FuzzReport> {
  const random = xorshift(seed);
  const problems: string[] = [];
  let refused = 0;
  let read = 0;
  let slowest = 0;
  let mostMemory = 0;
  for (let i = 0; i < count; i++) {
    const bytes = mutate(format.seeds[random(format.seeds.length)]!, random);
    const memory = watchAllocations();
    const start = process.cpuUsage();
    try {
      const source = await format.open(bytes);
      for (const [name, { shape }] of source.tensors) {
        const tensor = await source.read(name);
        if (tensor.data.length !== sizeOf(shape)) problems.push(`file ${i}: ${name} is not of its shape`);
      }
      read++;
    } catch (error) {
      if (MezzotintError.isInstance(error)) refused++;
      else problems.push(`file ${i}: ${String(error instanceof Error ? error.stack : error)}`);
    }
    const { user, system } = process.cpuUsage(start);
    slowest = Math.max(slowest, (user + system) / 1000);
    mostMemory = Math.max(mostMemory, memory.stop() / Math.max(bytes.length, SMALL_FILE));
  }
  return {
    format: format.name,
    files: count,
    refused,
    read,
    slowest: Math.round(slowest),
    mostMemory: Number(mostMemory.toFixed(1)),
    problems: problems.slice(0, 10),
  };
}

const TYPED_ARRAYS = [
  'Uint8Array',
  'Uint16Array',
  'Uint32Array',
  'Int32Array',
  'Float32Array',
  'Float64Array',
] as const;

/** The largest typed array made until `stop`, in bytes: what a lying size would show in. */
function watchAllocations(): { stop(): number } {
  let largest = 0;
  const originals = TYPED_ARRAYS.map((name) => globalThis[name]);
  for (const name of TYPED_ARRAYS) {
    const watched = new Proxy(globalThis[name] as Uint8ArrayConstructor, {
      construct(target, args: unknown[], newTarget) {
        const array = Reflect.construct(target, args, newTarget) as Uint8Array;
        largest = Math.max(largest, array.buffer.byteLength);
        return array;
      },
    });
    Object.assign(globalThis, { [name]: watched });
  }
  return {
    stop: () => {
      TYPED_ARRAYS.forEach((name, i) => {
        Object.assign(globalThis, { [name]: originals[i] });
      });
      return largest;
    },
  };
}

type Random = (below: number) => number;

/** Marsaglia's xorshift32: the same files on every machine. */
function xorshift(seed: number): Random {
  let state = (seed * 2654435769) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** One to eight small harms: bits, bytes, numbers, cuts, repeats, splices. */
function mutate(seed: Uint8Array, random: Random): Uint8Array {
  let bytes = Uint8Array.from(seed);
  const harms = 1 + random(8);
  for (let i = 0; i < harms && bytes.length > 0; i++) {
    // Half of them at the ends, where headers and directories are.
    const near = random(2) === 0 ? random(Math.min(200, bytes.length)) : random(bytes.length);
    const at = random(2) === 0 ? near : bytes.length - 1 - near;
    switch (random(8)) {
      case 0:
        bytes[at]! ^= 1 << random(8);
        break;
      case 1:
        bytes[at] = random(256);
        break;
      case 2:
        bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0x28, 0x2e, 0x65][random(8)]!;
        break;
      case 3: {
        const wide = new DataView(new ArrayBuffer(8));
        wide.setBigUint64(0, [0n, 1n, 0xffff_ffffn, 2n ** 63n - 1n, 2n ** 64n - 1n, 2n ** 40n][random(6)]!, true);
        for (let k = 0; k < 1 << random(4) && at + k < bytes.length; k++) bytes[at + k] = wide.getUint8(k);
        break;
      }
      case 4:
        if (random(4) === 0) bytes = bytes.slice(0, at);
        break;
      case 5: {
        const length = random(32);
        const from = random(bytes.length);
        bytes = Uint8Array.from([
          ...bytes.subarray(0, at),
          ...bytes.subarray(from, from + length),
          ...bytes.subarray(at),
        ]);
        break;
      }
      case 6:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + random(16))]);
        break;
      case 7: {
        // A decimal number in a text header, made another.
        const digit = bytes.findIndex((byte, k) => k >= at && byte >= 0x30 && byte <= 0x39);
        if (digit !== -1) bytes[digit] = 0x30 + random(10);
        break;
      }
    }
  }
  return bytes;
}

function safetensorsSeed(): Uint8Array {
  const header =
    '{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"h":{"dtype":"F16","shape":[4],"data_offsets":[24,32]},"i":{"dtype":"I64","shape":[2],"data_offsets":[32,48]}} ';
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + 48);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}
