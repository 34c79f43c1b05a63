import { MezzotintError } from '@mezzotint/core';
import { xorshift } from './mutate.js';
import type { Reader } from './readers.js';

/** What came of the mutated files of one reader. */
export interface FuzzReport {
  readonly reader: string;
  readonly files: number;
  readonly refused: number;
  readonly read: number;
  /** CPU milliseconds of the slowest file. */
  readonly slowest: number;
  /** Errors that are none of ours, each kind once. */
  readonly foreign: readonly string[];
}

/** Longest that one small file may take, in CPU milliseconds. */
const SLOW = 5000;

/** Reads `count` mutations of a reader's seeds: each must end in a value or an error of ours. */
export async function fuzz(reader: Reader, count: number, seed: number): Promise<FuzzReport> {
  const random = xorshift(seed);
  const foreign = new Map<string, string>();
  let [refused, read, slowest] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const bytes = reader.mutate(reader.seeds[random(reader.seeds.length)]!, random);
    const start = process.cpuUsage();
    try {
      await reader.read(bytes);
      read++;
    } catch (error) {
      if (MezzotintError.isInstance(error)) refused++;
      else
        foreign.set(
          String(error).slice(0, 80),
          `file ${i}: ${error instanceof Error ? error.stack?.split('\n').slice(0, 4).join(' ') : String(error)}`,
        );
    }
    const { user, system } = process.cpuUsage(start);
    const spent = Math.round((user + system) / 1000);
    if (spent > SLOW) foreign.set('slow', `file ${i}: took ${spent} ms`);
    slowest = Math.max(slowest, spent);
  }
  return { reader: reader.name, files: count, refused, read, slowest, foreign: [...foreign.values()].slice(0, 10) };
}
