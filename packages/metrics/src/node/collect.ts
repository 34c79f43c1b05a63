import { existsSync } from 'node:fs';
import { InvalidFileError, parseJson, quoted } from '@mezzotint/core';
import { type CollectedBatch, Collector, type CollectorPlan } from '../collector.js';
import { readCheckpoint, writeStatistics } from './statistics-file.js';

/** Milliseconds between two checkpoints. */
const CHECKPOINT_EVERY = 30_000;

/** Pictures that are judged in batches; none are kept. */
export interface Source {
  /** What it is called in results. */
  readonly name: string;
  readonly count: number;
  /** Changes when the pictures or what is asked of them change: a run is resumed only with the same. */
  readonly identity: string;
  /** Rows of the pictures `first` to `first + count`. `onPart` hears how much of the batch is done. */
  judge(first: number, count: number, onPart: (fraction: number) => void): Promise<Omit<CollectedBatch, 'first'>>;
}

/** How a source is gone through. */
export interface CollectOptions {
  /** Pictures judged at once. */
  readonly batch: number;
  /** Which part of the source: [i, n] is part i of n, counted from 0. All of it when absent. */
  readonly shard?: readonly [number, number];
  /** Where the state is stored, and whether one that is there is gone on with. */
  readonly checkpoint?: { readonly path: string; readonly resume: boolean };
  readonly signal?: AbortSignal;
  /** Hears how many pictures of how many are judged. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Judges a source batch by batch and folds the rows into a collector; nothing else is kept. With a checkpoint the state is
 * stored every half minute, when the run is stopped and at the end; gone on with, it comes to the same numbers bit for bit.
 *
 * @throws what the source throws; the signal's reason; InvalidFileError when the checkpoint is of other pictures or settings
 */
export async function collect(source: Source, plan: CollectorPlan, options: CollectOptions): Promise<Collector> {
  const { batch, shard = [0, 1], checkpoint, signal, onProgress } = options;
  const [from, to] = shardOf(source.count, shard, batch);
  const identity = shardIdentity({ source: source.identity, from, to, batch });
  const stored = checkpoint?.resume && existsSync(checkpoint.path) ? await readCheckpoint(checkpoint.path) : undefined;
  const same = (before: NonNullable<typeof stored>) =>
    before.notes.identity === identity && JSON.stringify(before.collector.plan) === JSON.stringify(plan);
  if (stored !== undefined && !same(stored)) {
    const problem = 'was made with other pictures or settings: resume with those it was begun with';
    throw new InvalidFileError(checkpoint!.path, problem);
  }
  const collector = stored?.collector ?? new Collector(plan);
  const save = () => checkpoint && writeStatistics(checkpoint.path, collector, { identity, name: source.name });
  let saved = performance.now();
  onProgress?.(collector.count, to - from);
  try {
    for (let first = from + collector.count; first < to; first += batch) {
      signal?.throwIfAborted();
      const count = Math.min(batch, to - first);
      const done = collector.count;
      const judged = await source.judge(first, count, (fraction) => onProgress?.(done + fraction * count, to - from));
      collector.add({ first, ...judged });
      onProgress?.(collector.count, to - from);
      if (performance.now() - saved > CHECKPOINT_EVERY) {
        await save();
        saved = performance.now();
      }
    }
  } finally {
    await save();
  }
  return collector;
}

/** Which pictures a checkpoint is of. */
export interface ShardIdentity {
  /** Identity of the whole source. */
  readonly source: string;
  readonly from: number;
  readonly to: number;
  readonly batch: number;
}

function shardIdentity({ source, from, to, batch }: ShardIdentity): string {
  return JSON.stringify([source, from, to, batch]);
}

/** What `shardIdentity` wrote into a file. @throws InvalidFileError when it is something else */
export function readShardIdentity(path: string, text: unknown): ShardIdentity {
  let parts: unknown;
  try {
    parts = typeof text === 'string' ? parseJson(text) : undefined;
  } catch (cause) {
    throw new InvalidFileError(path, 'does not say which pictures it is of', { cause });
  }
  const [source, from, to, batch] = Array.isArray(parts) ? parts : [];
  const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (typeof source === 'string' && isIndex(from) && isIndex(to) && isIndex(batch) && from <= to) {
    return { source, from, to, batch };
  }
  throw new InvalidFileError(path, `expected [source, first, end, batch] of its pictures, got ${quoted(parts)}`);
}

/**
 * First and last index of part i of n, which cover a set without overlap. Parts are whole batches: a network may round a picture
 * otherwise in a batch of another size.
 */
export function shardOf(count: number, [i, n]: readonly [number, number], batch: number): [number, number] {
  const batches = Math.ceil(count / batch);
  const start = (part: number) => Math.min(count, Math.floor((part * batches) / n) * batch);
  return [start(i), start(i + 1)];
}
