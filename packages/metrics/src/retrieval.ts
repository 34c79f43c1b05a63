import { InvalidArgumentError } from '@mezzotint/core';
import { checkPair, type Features } from './features.js';

/** What retrieval is asked. */
export interface RetrievalOptions {
  /** How many of the closest targets count; [1, 5, 10] when absent. */
  readonly ranks?: readonly number[];
  /** Whether a target is a right answer to a query, by their rows; target i to query i when absent. */
  readonly right?: (query: number, target: number) => boolean;
}

/** Recall at each rank, and where the right answers stand. */
export interface Retrieval {
  /** Fraction of queries that have a right target among the first `rank`, in the order of `ranks`. */
  readonly recall: readonly { readonly rank: number; readonly value: number }[];
  /** Median over the queries of the place of the first right target; 1 is the best. */
  readonly medianRank: number;
}

/**
 * Retrieval by cosine: how often a right target is among the first ones of a query. Recall at K of Radford et al. 2021 (CLIP), table 13,
 * with captions as queries and pictures as targets or the other way round. A target that is wrong and just as close counts
 * as closer, so that features which are all the same retrieve nothing.
 *
 * @throws InvalidArgumentError for features of different widths or rows of zeros, ranks below 1, or a query without any right target
 */
export function retrieval(
  queries: Features,
  targets: Features,
  { ranks = [1, 5, 10], right = (query, target) => query === target }: RetrievalOptions = {},
): Retrieval {
  checkPair('retrieval', { queries, targets }, 1);
  const wrong = ranks.filter((rank) => !(Number.isInteger(rank) && rank >= 1));
  if (wrong.length > 0)
    throw new InvalidArgumentError('retrieval', `ranks: expected whole numbers from 1, got ${wrong}`);
  const [from, to] = [unitRows('queries', queries), unitRows('targets', targets)];
  const { dim } = queries;
  const cosines = new Float64Array(targets.count);
  const places = Array.from({ length: queries.count }, (_, query) => {
    for (let target = 0; target < targets.count; target++) {
      let dot = 0;
      for (let k = 0; k < dim; k++) dot += from[query * dim + k]! * to[target * dim + k]!;
      cosines[target] = dot;
    }
    const isRight = Array.from(cosines, (_, target) => right(query, target));
    const best = cosines.reduce((most, cosine, target) => (isRight[target] ? Math.max(most, cosine) : most), -Infinity);
    if (best === -Infinity) throw new InvalidArgumentError('retrieval', `query ${query} has no right target`);
    return 1 + cosines.reduce((sum, cosine, target) => sum + (!isRight[target] && cosine >= best ? 1 : 0), 0);
  });
  const sorted = [...places].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return {
    recall: ranks.map((rank) => ({ rank, value: places.filter((place) => place <= rank).length / places.length })),
    medianRank: (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2,
  };
}

/** Rows of length 1. */
function unitRows(name: string, { data, count, dim }: Features): Float64Array {
  const unit = new Float64Array(count * dim);
  for (let row = 0; row < count; row++) {
    const own = data.subarray(row * dim, (row + 1) * dim);
    const length = Math.hypot(...own);
    if (length === 0) throw new InvalidArgumentError('retrieval', `${name}: row ${row} is zero and has no direction`);
    for (let k = 0; k < dim; k++) unit[row * dim + k] = own[k]! / length;
  }
  return unit;
}
