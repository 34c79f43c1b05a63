import { createHash } from 'node:crypto';
import type { Contribution } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import { allGatherJson } from './agreement.js';
import type { Group, ReduceOptions } from './group.js';

/** How gradients are exchanged. */
export interface GradientExchangeOptions extends ReduceOptions {
  /**
   * Bytes of gradients that are sent at once, while the next ones are read from the engine. 25 MiB when absent.
   */
  readonly bucketBytes?: number;
  /** Ends the training of all ranks after an update in which any rank has it aborted. */
  readonly signal?: AbortSignal;
  /**
   * The rank that needs the gradient of a parameter of the model, where it is not all of them: `ShardedOptimizer.owner`. Others
   * do not get it.
   */
  readonly owner?: (path: string) => number;
}

/** What `train` of `@mezzotint/training` is given. */
export interface GradientExchange {
  readonly exchange: (mine: Contribution) => Promise<Contribution>;
  /** Aborted on every rank after the same update. */
  readonly signal: AbortSignal;
}

/** Parameters whose gradients are sent together. */
interface Bucket {
  readonly paths: string[];
  readonly length: number;
}

/**
 * Adds up the gradients of all ranks, in buckets: while one is on its way, the next is read from the engine. Losses and what was
 * observed come from all micro-batches, in the order of ranks. One for a training; every rank makes it with the same options.
 */
export function gradientExchange(group: Group, options: GradientExchangeOptions = {}): GradientExchange {
  const { bucketBytes = 25 * 2 ** 20, wire = 'float32', signal, owner } = options;
  const all = new AbortController();
  const exchange = async (mine: Contribution): Promise<Contribution> => {
    const { network, gradients } = mine;
    const sizes = [...gradients].map(([path, { size, shape }]) => [path, { size, shape }] as const);
    const keys = createHash('sha256').update(JSON.stringify(sizes)).digest('base64');
    const note = { keys, losses: mine.losses.map(String), observed: mine.observed, stop: signal?.aborted === true };
    const notes = await allGatherJson(group, note);
    if (notes.some(({ stop }) => stop)) all.abort();
    // A loss may leave out parameters on some ranks: their gradient is zero there.
    const alike = notes.every((of) => of.keys === keys);
    const known = new Map(alike ? sizes : (await allGatherJson(group, sizes)).flat());
    const owned = network === 'model' ? owner : undefined;
    const summed = new Map<string, tf.Tensor>();
    const under: Promise<void>[] = [];
    for (const { paths, length } of buckets(known, bucketBytes)) {
      const ordered = owned === undefined ? paths : [...paths].sort((a, b) => owned(a) - owned(b));
      const flat = new Float32Array(length);
      let at = 0;
      for (const path of ordered) {
        const gradient = gradients.get(path);
        if (gradient !== undefined) flat.set((await gradient.data()) as Float32Array, at);
        at += known.get(path)!.size;
      }
      const take = (values: Float32Array, of: readonly string[]) => {
        let from = 0;
        for (const path of of) {
          const { size, shape } = known.get(path)!;
          summed.set(path, tf.tensor(values.subarray(from, from + size), [...shape], 'float32'));
          from += size;
        }
      };
      if (owned === undefined) {
        under.push(group.allReduce(flat, 'sum', { wire }).then((values) => take(values, ordered)));
      } else {
        const counts = Array<number>(group.size).fill(0);
        for (const path of ordered) counts[owned(path)]! += known.get(path)!.size;
        const own = ordered.filter((path) => owned(path) === group.rank);
        under.push(group.reduceScatter(flat, counts, { wire }).then((values) => take(values, own)));
      }
    }
    await Promise.all(under);
    tf.dispose([...gradients.values()]);
    const inOrder = new Map(
      [...known.keys()].filter((path) => summed.has(path)).map((path) => [path, summed.get(path)!]),
    );
    return {
      ...{ network, gradients: inOrder },
      losses: notes.flatMap((of) => of.losses.map(Number)),
      observed: notes.flatMap((of) => of.observed),
    };
  };
  return { exchange, signal: all.signal };
}

/** Groups parameters, in their order, into buckets of at least `bytes`; the last may be smaller. */
function buckets(sizes: ReadonlyMap<string, { readonly size: number }>, bytes: number): Bucket[] {
  const made: Bucket[] = [];
  let paths: string[] = [];
  let length = 0;
  for (const [path, { size }] of sizes) {
    paths.push(path);
    length += size;
    if (4 * length >= bytes) {
      made.push({ paths, length });
      paths = [];
      length = 0;
    }
  }
  return length > 0 || paths.length > 0 ? [...made, { paths, length }] : made;
}
