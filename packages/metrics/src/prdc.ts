import { InvalidArgumentError } from '@mezzotint/core';
import { checkPair, type Features } from './features.js';
import { squaredDistances } from './squared-distances.js';

/** How two sets of samples cover each other; each is a share of 1 but density, which may exceed 1. */
export interface Prdc {
  /** Share of generated samples inside of the real manifold: fidelity. */
  readonly precision: number;
  /** Share of real samples inside of the generated manifold: diversity. */
  readonly recall: number;
  /** In how many real balls a generated sample lies, divided by k. Unlike precision it is not fooled by a real outlier. */
  readonly density: number;
  /** Share of real balls with a generated sample inside. */
  readonly coverage: number;
}

/** How the manifolds are made. */
export interface PrdcOptions {
  /** A ball reaches to the k-th nearest neighbour in its own set. Default 3 (Kynkäänniemi); Naeem takes 5. */
  readonly k?: number;
}

/** Rows of the second set that stay in the cache while the first set passes. */
const BLOCK = 128;

/**
 * Precision and recall (T. Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models",
 * 2019, eq. 1-2), density and coverage (M. Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models",
 * 2020, eq. 4-5). A manifold is the union of closed balls around the samples of a set, each as far as its k-th nearest
 * neighbour. The memory is O(N k); the time O(N^2 D).
 *
 * @throws InvalidArgumentError for less than k + 1 rows, dims that differ, or numbers that are not finite
 */
export function prdc(real: Features, generated: Features, { k = 3 }: PrdcOptions = {}): Prdc {
  if (!Number.isInteger(k) || k < 1) {
    throw new InvalidArgumentError('prdc', `expected k to be a positive integer, got ${k}`);
  }
  checkPair('prdc', { real, generated }, k + 1);
  const realRadius = neighbourDistances(real, k);
  const generatedRadius = neighbourDistances(generated, k);
  const balls = new Uint32Array(generated.count); // real balls that hold each generated sample
  const recalled = new Uint8Array(real.count); // real samples inside of a generated ball
  const covered = new Uint8Array(real.count); // real balls with a generated sample inside
  const distances = new Float64Array(BLOCK);
  for (let j0 = 0; j0 < generated.count; j0 += BLOCK) {
    const j1 = Math.min(j0 + BLOCK, generated.count);
    for (let i = 0; i < real.count; i++) {
      squaredDistances(real, i, generated, j0, j1, distances);
      for (let j = j0; j < j1; j++) {
        const distance = distances[j - j0]!;
        if (distance <= realRadius[i]!) {
          balls[j]! += 1;
          covered[i] = 1;
        }
        if (distance <= generatedRadius[j]!) recalled[i] = 1;
      }
    }
  }
  const total = (values: Uint8Array | Uint32Array) => (values as Uint32Array).reduce((sum, value) => sum + value, 0);
  return {
    precision: balls.filter((count) => count > 0).length / generated.count,
    recall: total(recalled) / real.count,
    density: total(balls) / (k * generated.count),
    coverage: total(covered) / real.count,
  };
}

/** Squared distance of each row to its k-th nearest neighbour in the set, itself not counted. */
export function neighbourDistances(set: Features, k: number): Float64Array {
  const { count } = set;
  const nearest = new Float64Array(count * k).fill(Number.POSITIVE_INFINITY); // ascending for each row
  const insert = (row: number, distance: number) => {
    const first = row * k;
    let at = first + k - 1;
    if (!(distance < nearest[at]!)) return;
    for (; at > first && nearest[at - 1]! > distance; at--) nearest[at] = nearest[at - 1]!;
    nearest[at] = distance;
  };
  const distances = new Float64Array(BLOCK);
  for (let j0 = 0; j0 < count; j0 += BLOCK) {
    const j1 = Math.min(j0 + BLOCK, count);
    for (let i = 0; i < j1; i++) {
      const from = Math.max(j0, i + 1); // each pair once
      squaredDistances(set, i, set, from, j1, distances);
      for (let j = from; j < j1; j++) {
        insert(i, distances[j - from]!);
        insert(j, distances[j - from]!);
      }
    }
  }
  return Float64Array.from({ length: count }, (_, row) => nearest[row * k + k - 1]!);
}
