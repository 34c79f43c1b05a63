import { InvalidArgumentError } from '@mezzotint/core';

/** How much of a codebook is used. */
export interface CodebookUsage {
  /** Codes that occur at all. */
  readonly used: number;
  /** exp of the entropy of the codes: K when all are equally frequent, 1 when there is only one. */
  readonly perplexity: number;
}

/**
 * How many of `codes` codes occur among `indices`, and their perplexity exp(-sum p log p) (van den Oord et al. 2017).
 * @throws InvalidArgumentError when there is no index, or one is not in [0, codes)
 */
export function codebookUsage(indices: ArrayLike<number>, codes: number): CodebookUsage {
  const counts = new Float64Array(codes);
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]!;
    if (!Number.isInteger(index) || index < 0 || index >= codes) {
      throw new InvalidArgumentError('codebookUsage', `indices[${i}]: expected one of [0, ${codes}), got ${index}`);
    }
    counts[index]! += 1;
  }
  if (indices.length === 0) throw new InvalidArgumentError('codebookUsage', 'expected at least one index, got none');
  const shares = counts.filter((count) => count > 0).map((count) => count / indices.length);
  return { used: shares.length, perplexity: Math.exp(-shares.reduce((sum, p) => sum + p * Math.log(p), 0)) };
}
