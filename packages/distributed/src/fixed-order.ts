import type { Numbers } from './group.js';

/**
 * The sum of arrays of one length, in the order of a binary tree over their indices: (0 + 1) + (2 + 3), and so on; an array
 * without a partner moves up a level. Overwrites the arrays, and gives the first.
 *
 * Blocks of 2^k neighbours are subtrees: adding up 4 arrays here, or 2 on each of two ranks and then the two sums, gives the same
 * bits. So it does not matter how a power of two of micro-batches is spread over ranks.
 */
export function addPairwise<T extends Numbers>(arrays: readonly T[]): T {
  return inTree(arrays, (into, other) => {
    for (let i = 0; i < into.length; i++) into[i]! += other[i]!;
  });
}

/** The largest of each element; NaN when one is NaN. Overwrites the arrays, and gives the first. */
export function largest<T extends Numbers>(arrays: readonly T[]): T {
  return inTree(arrays, (into, other) => {
    for (let i = 0; i < into.length; i++) into[i] = Math.max(into[i]!, other[i]!);
  });
}

function inTree<T extends Numbers>(arrays: readonly T[], join: (into: T, other: T) => void): T {
  for (let step = 1; step < arrays.length; step *= 2) {
    for (let i = 0; i + step < arrays.length; i += 2 * step) join(arrays[i]!, arrays[i + step]!);
  }
  return arrays[0]!;
}
