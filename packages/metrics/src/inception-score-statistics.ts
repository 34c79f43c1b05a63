import { InvalidArgumentError, NumpyRandomState } from '@mezzotint/core';
import { type Features, problemsOf } from './features.js';
import { type InceptionScoreOptions, logProbabilities } from './inception-score.js';
import { type Spread, spreadOf } from './kernel-distance-of-subsets.js';

/** The sums of {@link InceptionScoreStatistics}, to be stored. */
export interface InceptionScoreState {
  readonly total: number;
  readonly seed: number;
  /** Rows in each split so far. */
  readonly counts: Float64Array;
  /** Sum of the rows' p(y|x), `[splits, classes]`. */
  readonly marginals: Float64Array;
  /** Sum of sum_y p log p, `[splits]`. */
  readonly negativeEntropies: Float64Array;
}

/**
 * The inception score of logits that come batch by batch, in any order and in shards; what is kept are `splits` sums of
 * probabilities. Which split a row belongs to is torch-fidelity's: its place in a shuffle of all rows, so their number
 * is told beforehand.
 */
export class InceptionScoreStatistics {
  readonly classes: number;
  readonly total: number;
  readonly seed: number;
  readonly #counts: Float64Array;
  readonly #marginals: Float64Array;
  readonly #negativeEntropies: Float64Array;
  readonly #splitOf: Uint16Array;

  /** @throws InvalidArgumentError for fewer rows than splits */
  constructor(classes: number, total: number, { splits = 10, seed = 2020 }: InceptionScoreOptions = {}) {
    if (!Number.isInteger(splits) || splits < 1 || splits > Math.min(total, 2 ** 16)) {
      throw new InvalidArgumentError(
        'InceptionScoreStatistics',
        `expected splits to be an integer from 1 to the number of rows, ${total}, got ${splits}`,
      );
    }
    this.classes = classes;
    this.total = total;
    this.seed = seed;
    this.#counts = new Float64Array(splits);
    this.#marginals = new Float64Array(splits * classes);
    this.#negativeEntropies = new Float64Array(splits);
    this.#splitOf = new Uint16Array(total);
    const order = new NumpyRandomState(seed).permutation(total);
    for (let split = 0; split < splits; split++) {
      const [from, to] = [Math.floor((split * total) / splits), Math.floor(((split + 1) * total) / splits)];
      for (let j = from; j < to; j++) this.#splitOf[order[j]!] = split;
    }
  }

  /**
   * Adds rows `[N, classes]` whose indices are `first`, `first + step`, ... among all rows.
   *
   * @throws InvalidArgumentError when an index is not below the total, or as {@link FeatureStatistics.add}
   */
  add(logits: Features, first: number, step = 1): this {
    const problems = problemsOf('logits', logits, 0);
    if (logits.dim !== this.classes) problems.push(`expected logits of ${this.classes} classes, got ${logits.dim}`);
    const last = first + (logits.count - 1) * step;
    if (logits.count > 0 && last >= this.total) problems.push(`expected rows below ${this.total}, got row ${last}`);
    if (problems.length > 0) throw new InvalidArgumentError('InceptionScoreStatistics.add', problems);
    for (let i = 0; i < logits.count; i++) {
      const split = this.#splitOf[first + i * step]!;
      const logP = logProbabilities(logits, i);
      let sum = 0;
      for (let y = 0; y < this.classes; y++) {
        const p = Math.exp(logP[y]!);
        this.#marginals[split * this.classes + y]! += p;
        sum += p === 0 ? 0 : p * logP[y]!;
      }
      this.#negativeEntropies[split]! += sum;
      this.#counts[split]! += 1;
    }
    return this;
  }

  /** Adds what `other` has seen. @throws InvalidArgumentError when it splits otherwise */
  merge(other: InceptionScoreStatistics): this {
    const of = (s: InceptionScoreStatistics) =>
      `${s.total} rows, ${s.classes} classes, ${s.#counts.length} splits, seed ${s.seed}`;
    if (of(this) !== of(other)) {
      throw new InvalidArgumentError('InceptionScoreStatistics.merge', `expected ${of(this)}, got ${of(other)}`);
    }
    for (const [mine, theirs] of [
      [this.#counts, other.#counts],
      [this.#marginals, other.#marginals],
      [this.#negativeEntropies, other.#negativeEntropies],
    ] as const) {
      for (let i = 0; i < mine.length; i++) mine[i]! += theirs[i]!;
    }
    return this;
  }

  /** How many splits the rows are in. */
  get splits(): number {
    return this.#counts.length;
  }

  /** Mean and spread over the splits. @throws InvalidArgumentError when a split has no row yet */
  score(): Spread {
    const { classes } = this;
    if (this.#counts.some((count) => count === 0)) {
      throw new InvalidArgumentError(
        'InceptionScoreStatistics',
        'expected rows in every split, got a split without any',
      );
    }
    return spreadOf(
      this.#counts.map((count, split) => {
        let marginal = 0; // sum over y of p(y) log p(y)
        for (let y = 0; y < classes; y++) {
          const p = this.#marginals[split * classes + y]! / count;
          marginal += p === 0 ? 0 : p * Math.log(p);
        }
        return Math.exp(this.#negativeEntropies[split]! / count - marginal);
      }),
    );
  }

  /** What has been seen, to be stored. */
  state(): InceptionScoreState {
    return {
      ...{ total: this.total, seed: this.seed, counts: this.#counts.slice() },
      ...{ marginals: this.#marginals.slice(), negativeEntropies: this.#negativeEntropies.slice() },
    };
  }

  /** Goes on from a stored state. @throws InvalidArgumentError when sizes do not agree or a number is not finite */
  static fromState({
    total,
    seed,
    counts,
    marginals,
    negativeEntropies,
  }: InceptionScoreState): InceptionScoreStatistics {
    const classes = marginals.length / counts.length;
    const problems = [
      ...problemsOf('marginals', { data: marginals, count: counts.length, dim: classes }, 1),
      ...problemsOf('counts', { data: counts, count: 1, dim: counts.length }, 1),
      ...problemsOf('negativeEntropies', { data: negativeEntropies, count: 1, dim: counts.length }, 1),
    ];
    if (problems.length > 0) throw new InvalidArgumentError('InceptionScoreStatistics.fromState', problems);
    const statistics = new InceptionScoreStatistics(classes, total, { splits: counts.length, seed });
    statistics.#counts.set(counts);
    statistics.#marginals.set(marginals);
    statistics.#negativeEntropies.set(negativeEntropies);
    return statistics;
  }
}
