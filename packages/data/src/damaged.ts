import { InvalidArgumentError, InvalidFileError, listed } from '@mezzotint/core';
import { type Dataset, partOf } from './dataset.js';
import { decodingThreads } from './decode-example.js';

/** How pictures are looked through. */
export interface CheckOptions {
  /** Threads that decode; 1 when absent, 0 decodes in this thread. */
  readonly threads?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Pictures under way at one time, for each thread. */
const AHEAD = 8;

/**
 * The data set without the pictures that cannot be decoded (`openDataset` reads their headers alone), which are named in `skipped`. Decodes
 * every picture once.
 *
 * @throws InvalidArgumentError when none is left
 */
export async function withoutDamaged(set: Dataset, { threads = 1, onProgress }: CheckOptions = {}): Promise<Dataset> {
  const decoder = decodingThreads(threads);
  const damaged = new Set<string>();
  let next = 0;
  let done = 0;
  const work = async () => {
    while (next < set.examples.length) {
      const { name, source, height, width } = set.examples[next++]!;
      try {
        await decoder.decode({ name, source, channels: 3, size: { height, width } });
      } catch (error) {
        if (!InvalidFileError.isInstance(error)) throw error;
        damaged.add(name);
      }
      onProgress?.(++done, set.examples.length);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.max(1, threads) * AHEAD }, work));
  } finally {
    await decoder.close();
  }
  if (damaged.size === 0) return set;
  const names = [...damaged].sort();
  const said = `${names.length} ${names.length === 1 ? 'picture that is' : 'pictures that are'} damaged behind the header: ${listed(names, 5)}`;
  if (damaged.size === set.examples.length)
    throw new InvalidArgumentError('data', `${set.path}: ${said}; none is left`);
  return { ...partOf(set, ({ name }) => !damaged.has(name)), skipped: [...set.skipped, said] };
}
