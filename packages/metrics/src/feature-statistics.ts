import { InvalidArgumentError } from '@mezzotint/core';
import { type Features, problemsOf } from './features.js';
import type { Gaussian } from './frechet-distance.js';

/** The sums of {@link FeatureStatistics}: typed arrays, to be stored in any format. */
export interface FeatureStatisticsState {
  readonly count: number;
  /** `[D]`. */
  readonly mean: Float64Array;
  /** Sum of (x - mean)(x - mean)^T, row-major `[D, D]`, symmetric. */
  readonly scatter: Float64Array;
}

/** Rows that are centred together; their own mean is taken off before anything is squared. */
const CHUNK = 256;

/**
 * Mean and covariance of features that come batch by batch; what is kept does not grow with their number. Each chunk is
 * centred on its own mean and joined to the rest by T. Chan, G. Golub, R. LeVeque, "Algorithms for Computing the Sample
 * Variance" (1983), eq. 2.1, which loses no digits when the mean is large beside the spread, as sums of squares would. float64.
 */
export class FeatureStatistics implements Gaussian {
  readonly dim: number;
  #count = 0;
  readonly #mean: Float64Array;
  readonly #scatter: Float64Array; // upper triangle

  /** @throws InvalidArgumentError when `dim` is not a positive integer, or its square exceeds 2^28 numbers */
  constructor(dim: number) {
    if (!Number.isInteger(dim) || dim < 1 || dim > 2 ** 14) {
      throw new InvalidArgumentError('FeatureStatistics', `expected dim to be an integer in [1, 16384], got ${dim}`);
    }
    this.dim = dim;
    this.#mean = new Float64Array(dim);
    this.#scatter = new Float64Array(dim * dim);
  }

  /** N: rows added so far. */
  get count(): number {
    return this.#count;
  }

  /** Mean `[D]`, a copy. @throws InvalidArgumentError before the first row */
  get mean(): Float64Array {
    this.#expectRows(1);
    return this.#mean.slice();
  }

  /** Covariance `[D, D]` with divisor N - 1, as numpy.cov gives it, a copy. @throws InvalidArgumentError before the second row */
  get covariance(): Float64Array {
    this.#expectRows(2);
    return this.#fullScatter(1 / (this.#count - 1));
  }

  /**
   * Adds rows.
   *
   * @throws InvalidArgumentError when they have another dim, or a number is not finite; nothing is added then
   */
  add(features: Features): this {
    const problems = problemsOf('features', features, 0);
    if (features.dim !== this.dim) problems.push(`expected features of dim ${this.dim}, got ${features.dim}`);
    if (problems.length > 0) throw new InvalidArgumentError('FeatureStatistics.add', problems);
    for (let from = 0; from < features.count; from += CHUNK) {
      this.#addChunk(features.data, from, Math.min(from + CHUNK, features.count));
    }
    return this;
  }

  /**
   * Adds all rows that `other` has seen. `other` stays as it is.
   *
   * @throws InvalidArgumentError when it has another dim
   */
  merge(other: FeatureStatistics): this {
    if (other.dim !== this.dim) {
      throw new InvalidArgumentError('FeatureStatistics.merge', `expected dim ${this.dim}, got ${other.dim}`);
    }
    const scatter = other.#scatter;
    for (let i = 0; i < scatter.length; i++) this.#scatter[i]! += scatter[i]!;
    this.#join(other.#mean.slice(), other.#count);
    return this;
  }

  /** What has been seen, to be stored. */
  state(): FeatureStatisticsState {
    return { count: this.#count, mean: this.#mean.slice(), scatter: this.#fullScatter(1) };
  }

  /**
   * Goes on from a stored state.
   *
   * @throws InvalidArgumentError when sizes do not agree or a number is not finite
   */
  static fromState({ count, mean, scatter }: FeatureStatisticsState): FeatureStatistics {
    const dim = mean.length;
    const problems = [
      ...problemsOf('mean', { data: mean, count: 1, dim }, 1),
      ...problemsOf('scatter', { data: scatter, count: dim, dim }, 1),
    ];
    if (!Number.isSafeInteger(count) || count < 0)
      problems.push(`expected count to be an integer from 0, got ${count}`);
    if (problems.length > 0) throw new InvalidArgumentError('FeatureStatistics.fromState', problems);
    const statistics = new FeatureStatistics(dim);
    statistics.#count = count;
    statistics.#mean.set(mean);
    statistics.#scatter.set(scatter);
    return statistics;
  }

  #expectRows(least: number): void {
    if (this.#count < least) {
      throw new InvalidArgumentError(
        'FeatureStatistics',
        `expected at least ${least} rows to be added before, got ${this.#count}`,
      );
    }
  }

  /** Both triangles, times `scale`. */
  #fullScatter(scale: number): Float64Array {
    const { dim } = this;
    const out = new Float64Array(dim * dim);
    for (let i = 0; i < dim; i++) {
      for (let j = i; j < dim; j++) {
        const value = this.#scatter[i * dim + j]! * scale;
        out[i * dim + j] = value;
        out[j * dim + i] = value;
      }
    }
    return out;
  }

  #addChunk(data: Float32Array | Float64Array, from: number, to: number): void {
    const { dim } = this;
    const mean = new Float64Array(dim);
    for (let row = from; row < to; row++) {
      for (let i = 0; i < dim; i++) mean[i]! += data[row * dim + i]!;
    }
    for (let i = 0; i < dim; i++) mean[i]! /= to - from;
    const rows = Array.from({ length: to - from }, (_, r) => {
      const centred = new Float64Array(dim);
      for (let i = 0; i < dim; i++) centred[i] = data[(from + r) * dim + i]! - mean[i]!;
      return centred;
    });
    while (rows.length % 8 !== 0) rows.push(new Float64Array(dim));
    for (let r = 0; r < rows.length; r += 8) this.#addProducts(rows.slice(r, r + 8));
    this.#join(mean, to - from);
  }

  /** scatter += sum of x x^T over eight rows, upper triangle. */
  #addProducts(rows: readonly Float64Array[]): void {
    const { dim } = this;
    const scatter = this.#scatter;
    const [a, b, c, d, e, f, g, h] = rows as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    for (let i = 0; i < dim; i++) {
      const [ai, bi, ci, di, ei, fi, gi, hi] = [a[i]!, b[i]!, c[i]!, d[i]!, e[i]!, f[i]!, g[i]!, h[i]!];
      const row = i * dim;
      for (let j = i; j < dim; j++) {
        scatter[row + j]! +=
          ai * a[j]! + bi * b[j]! + ci * c[j]! + di * d[j]! + ei * e[j]! + fi * f[j]! + gi * g[j]! + hi * h[j]!;
      }
    }
  }

  /** Joins the mean of `count` further rows whose scatter is added already: scatter += (n m / (n + m)) delta delta^T. */
  #join(mean: Float64Array, count: number): void {
    if (count === 0) return;
    const { dim } = this;
    const total = this.#count + count;
    const weight = (this.#count * count) / total;
    for (let i = 0; i < dim; i++) mean[i]! -= this.#mean[i]!; // delta
    for (let i = 0; i < dim; i++) {
      const scaled = weight * mean[i]!;
      for (let j = i; j < dim; j++) this.#scatter[i * dim + j]! += scaled * mean[j]!;
      this.#mean[i]! += (mean[i]! * count) / total;
    }
    this.#count = total;
  }
}
