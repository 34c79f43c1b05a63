import { InvalidArgumentError, NumpyRandomState } from '@mezzotint/core';
import { checkPair, type Features } from './features.js';
import { discrepancy, sum, sumsBetween, sumsWithin } from './kernel-distance.js';

/** Which subsets are drawn. The defaults are torch-fidelity's. */
export interface SubsetOptions {
  /** Default 100. */
  readonly subsets?: number;
  /** Rows of each set in a subset. Default 1000. */
  readonly subsetSize?: number;
  /** Seed of NumPy's RandomState. Default 2020. */
  readonly seed?: number;
}

/** Mean and standard deviation (divisor: the number) over repetitions. */
export interface Spread {
  readonly mean: number;
  readonly standardDeviation: number;
}

/**
 * KID as torch-fidelity and the tables of papers give it: mean and spread of the unbiased kernel distance over random
 * subsets of both sets. With the same features, sizes and seed it draws the same rows as torch-fidelity.
 *
 * The spread says how much *one subset* scatters, not how sure the mean is: the subsets overlap, so neither it nor it
 * divided by the root of their number is a standard error. {@link kernelDistance} gives one.
 *
 * @throws InvalidArgumentError for subsets larger than a set, dims that differ, or numbers that are not finite
 */
export function kernelDistanceOfSubsets(a: Features, b: Features, options: SubsetOptions = {}): Spread {
  const { subsets = 100, subsetSize = 1000, seed = 2020 } = options;
  checkPair('kernelDistanceOfSubsets', { a, b }, 2);
  const problems = [];
  if (!Number.isInteger(subsets) || subsets < 1)
    problems.push(`expected subsets to be a positive integer, got ${subsets}`);
  if (!Number.isInteger(subsetSize) || subsetSize < 2 || subsetSize > Math.min(a.count, b.count)) {
    const most = Math.min(a.count, b.count);
    problems.push(`expected subsetSize to be an integer from 2 to the smaller set's ${most}, got ${subsetSize}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('kernelDistanceOfSubsets', problems);
  const random = new NumpyRandomState(seed);
  const values = Float64Array.from({ length: subsets }, () => {
    const drawnA = rows(a, random.permutation(a.count).subarray(0, subsetSize));
    const drawnB = rows(b, random.permutation(b.count).subarray(0, subsetSize));
    const [withinA, withinB] = [sum(sumsWithin(drawnA)), sum(sumsWithin(drawnB))];
    return discrepancy(withinA, subsetSize, withinB, subsetSize, sum(sumsBetween(drawnA, drawnB).a));
  });
  return spreadOf(values);
}

/** Mean and population standard deviation. */
export function spreadOf(values: Float64Array): Spread {
  const mean = sum(values) / values.length;
  const squares = values.reduce((total, value) => total + (value - mean) ** 2, 0);
  return { mean, standardDeviation: Math.sqrt(squares / values.length) };
}

function rows({ data, dim }: Features, indices: Int32Array): Features {
  const out = new Float64Array(indices.length * dim);
  for (const [i, index] of indices.entries()) out.set(data.subarray(index * dim, (index + 1) * dim), i * dim);
  return { data: out, count: indices.length, dim };
}
