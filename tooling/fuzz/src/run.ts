import { MezzotintError } from '@mezzotint/core';
import { xorshift } from './mutate.js';
import type { Reader } from './reader.js';

/** What came of the mutated files of one reader. */
export interface FuzzReport {
  readonly reader: string;
  readonly files: number;
  readonly refused: number;
  readonly read: number;
  /** CPU milliseconds of the slowest file. */
  readonly slowest: number;
  /** Largest array that a file made the reader ask for, over the size of the file (64 kB at least). */
  readonly mostMemory: number;
  /** Errors that are none of ours, each kind once. */
  readonly foreign: readonly string[];
}

/** What a reader may take whatever the size of the file: windows and code tables. */
const SMALL_FILE = 65_536;

/** Longest that one small file may take, in CPU milliseconds. */
const SLOW = 5000;

/** Reads `count` mutations of a reader's seeds: each must end in a value or an error of ours. */
export async function fuzz(reader: Reader, count: number, seed: number): Promise<FuzzReport> {
  const random = xorshift(seed);
  const foreign = new Map<string, string>();
  let [refused, read, slowest, mostMemory] = [0, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    const seedFile = random(reader.seeds.length);
    const bytes = reader.mutate(reader.seeds[seedFile]!, random);
    const memory = watchAllocations();
    const start = process.cpuUsage();
    try {
      await reader.read(bytes, seedFile);
      read++;
    } catch (error) {
      if (MezzotintError.isInstance(error)) refused++;
      else
        foreign.set(
          String(error).slice(0, 80),
          `file ${i}: ${error instanceof Error ? error.stack?.split('\n').slice(0, 4).join(' ') : String(error)}`,
        );
    }
    const asked = memory.stop() / Math.max(bytes.length, SMALL_FILE);
    if (reader.memory !== undefined && asked > reader.memory) {
      foreign.set('memory', `file ${i}: asked for ${asked.toFixed(1)} times its size`);
    }
    mostMemory = Math.max(mostMemory, asked);
    const { user, system } = process.cpuUsage(start);
    const spent = Math.round((user + system) / 1000);
    if (spent > SLOW) foreign.set('slow', `file ${i}: took ${spent} ms`);
    slowest = Math.max(slowest, spent);
  }
  const report = { reader: reader.name, files: count, refused, read, slowest };
  return { ...report, mostMemory: Number(mostMemory.toFixed(1)), foreign: [...foreign.values()].slice(0, 10) };
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
