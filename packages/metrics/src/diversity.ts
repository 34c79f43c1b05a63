import { InvalidArgumentError } from '@mezzotint/core';
import { type Features, problemsOf } from './features.js';

/** The sums of {@link DiversityStatistics}, to be stored. */
export interface DiversityState {
  readonly count: number;
  /** `[D]`. */
  readonly mean: Float64Array;
  /** Sum of |x - mean|^2. */
  readonly scatter: number;
}

/**
 * Mean squared distance over all pairs of rows that come batch by batch, without making a pair: it is twice the total variance,
 * `2 / (N - 1) sum |x - mean|^2`. With the features of LPIPS, whose squared distances are LPIPS, this is LPIPS diversity over
 * all pairs (R. Zhang et al. 2018; as a measure of diversity: J.-Y. Zhu et al., "Toward Multimodal Image-to-Image Translation", 2017).
 */
export class DiversityStatistics {
  #count = 0;
  readonly #mean: Float64Array;
  #scatter = 0;

  constructor(dim: number) {
    this.#mean = new Float64Array(dim);
  }

  /** Adds rows. @throws InvalidArgumentError when they have another dim, or a number is not finite; nothing is added then */
  add(features: Features): this {
    const { data, count, dim } = features;
    const problems = problemsOf('features', features, 0);
    if (dim !== this.#mean.length) problems.push(`expected features of dim ${this.#mean.length}, got ${dim}`);
    if (problems.length > 0) throw new InvalidArgumentError('DiversityStatistics.add', problems);
    for (let i = 0; i < count; i++) {
      this.#count += 1; // Welford's update
      for (let k = 0; k < dim; k++) {
        const delta = data[i * dim + k]! - this.#mean[k]!;
        this.#mean[k]! += delta / this.#count;
        this.#scatter += delta * (data[i * dim + k]! - this.#mean[k]!);
      }
    }
    return this;
  }

  /** Adds what `other` has seen. @throws InvalidArgumentError when it has another dim */
  merge(other: DiversityStatistics): this {
    if (other.#mean.length !== this.#mean.length) {
      const dims = `expected dim ${this.#mean.length}, got ${other.#mean.length}`;
      throw new InvalidArgumentError('DiversityStatistics.merge', dims);
    }
    const total = this.#count + other.#count;
    if (other.#count === 0) return this;
    this.#scatter += other.#scatter;
    for (let k = 0; k < this.#mean.length; k++) {
      const delta = other.#mean[k]! - this.#mean[k]!;
      this.#scatter += (delta * delta * this.#count * other.#count) / total;
      this.#mean[k]! += (delta * other.#count) / total;
    }
    this.#count = total;
    return this;
  }

  /** Mean squared distance of two different rows. @throws InvalidArgumentError before the second row */
  score(): number {
    if (this.#count < 2) {
      throw new InvalidArgumentError('DiversityStatistics', `expected at least 2 rows, got ${this.#count}`);
    }
    return (2 * this.#scatter) / (this.#count - 1);
  }

  /** What has been seen, to be stored. */
  state(): DiversityState {
    return { count: this.#count, mean: this.#mean.slice(), scatter: this.#scatter };
  }

  /** Goes on from a stored state. @throws InvalidArgumentError when a number is not finite */
  static fromState({ count, mean, scatter }: DiversityState): DiversityStatistics {
    const problems = problemsOf('mean', { data: mean, count: 1, dim: mean.length }, 1);
    if (!(Number.isFinite(scatter) && scatter >= 0)) problems.push(`expected scatter of at least 0, got ${scatter}`);
    if (problems.length > 0) throw new InvalidArgumentError('DiversityStatistics.fromState', problems);
    const statistics = new DiversityStatistics(mean.length);
    statistics.#count = count;
    statistics.#mean.set(mean);
    statistics.#scatter = scatter;
    return statistics;
  }
}
