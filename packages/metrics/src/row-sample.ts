import { InvalidArgumentError } from '@mezzotint/core';
import { type Features, problemsOf } from './features.js';

/** What {@link RowSample} keeps, to be stored. */
export interface RowSampleState {
  readonly limit: number;
  readonly seed: number;
  /** Rows seen. */
  readonly seen: number;
  /** Index of each kept row, ascending. */
  readonly indices: Float64Array;
  /** Row-major `[kept, dim]`. */
  readonly data: Float32Array;
}

/** Rows that wait beside the kept ones until the worst are dropped. */
const SLACK = 1024;

/**
 * A uniform sample without replacement of the rows that go by, at most `limit` of them: those whose index hashes lowest. So it does not
 * depend on batches, order or shards; samples merge; two sets of pairs keep the same pairs; and while no more rows than
 * `limit` have gone by, it is all of them in their order. Float32.
 */
export class RowSample {
  readonly dim: number;
  readonly limit: number;
  readonly seed: number;
  #seen = 0;
  /** The highest hash of a row that is kept, once there are `limit`. */
  #worst = Number.POSITIVE_INFINITY;
  #rows: { readonly index: number; readonly priority: number; readonly values: Float32Array }[] = [];

  /** @throws InvalidArgumentError when `dim` or `limit` is not a positive integer */
  constructor(dim: number, { limit = 10_000, seed = 0 }: { readonly limit?: number; readonly seed?: number } = {}) {
    for (const [name, value] of Object.entries({ dim, limit })) {
      if (!Number.isInteger(value) || value < 1) {
        throw new InvalidArgumentError('RowSample', `expected ${name} to be a positive integer, got ${value}`);
      }
    }
    this.dim = dim;
    this.limit = limit;
    this.seed = seed;
  }

  /** Rows that went by. */
  get seen(): number {
    return this.#seen;
  }

  /** The kept rows in the order of their indices. */
  get features(): Features {
    this.#drop();
    const rows = this.#rows.toSorted((a, b) => a.index - b.index);
    const data = new Float32Array(rows.length * this.dim);
    for (const [i, { values }] of rows.entries()) data.set(values, i * this.dim);
    return { data, count: rows.length, dim: this.dim };
  }

  /**
   * Adds rows whose indices are `first`, `first + step`, ... among all rows.
   *
   * @throws InvalidArgumentError when they have another dim, or a number is not finite; nothing is added then
   */
  add(features: Features, first = this.#seen, step = 1): this {
    const problems = problemsOf('features', features, 0);
    if (features.dim !== this.dim) problems.push(`expected features of dim ${this.dim}, got ${features.dim}`);
    if (problems.length > 0) throw new InvalidArgumentError('RowSample.add', problems);
    const { data, count, dim } = features;
    for (let i = 0; i < count; i++) {
      const index = first + i * step;
      const priority = hash(this.seed, index);
      if (priority > this.#worst) continue; // it could not be kept
      this.#rows.push({ index, priority, values: Float32Array.from(data.subarray(i * dim, (i + 1) * dim)) });
      if (this.#rows.length >= this.limit + SLACK) this.#drop();
    }
    this.#seen += count;
    return this;
  }

  /**
   * Adds what `other` has seen.
   *
   * @throws InvalidArgumentError when it keeps another number of rows, of another dim or by another seed
   */
  merge(other: RowSample): this {
    const same = other.dim === this.dim && other.limit === this.limit && other.seed === this.seed;
    if (!same) {
      const of = ({ dim, limit, seed }: RowSample) => `dim ${dim}, limit ${limit}, seed ${seed}`;
      throw new InvalidArgumentError('RowSample.merge', `expected ${of(this)}, got ${of(other)}`);
    }
    for (const row of other.#rows) this.#rows.push(row);
    this.#seen += other.#seen;
    this.#drop();
    return this;
  }

  /** What has been kept, to be stored. */
  state(): RowSampleState {
    const { data } = this.features;
    const indices = Float64Array.from(this.#rows.map(({ index }) => index)).sort();
    return { limit: this.limit, seed: this.seed, seen: this.#seen, indices, data: data as Float32Array };
  }

  /** Goes on from a stored state. @throws InvalidArgumentError when sizes do not agree or a number is not finite */
  static fromState({ limit, seed, seen, indices, data }: RowSampleState, dim: number): RowSample {
    const sample = new RowSample(dim, { limit, seed });
    const problems = problemsOf('data', { data, count: indices.length, dim }, 0);
    if (indices.length > limit || seen < indices.length) {
      problems.push(`expected at most ${limit} kept rows of those seen, got ${indices.length} of ${seen}`);
    }
    if (problems.length > 0) throw new InvalidArgumentError('RowSample.fromState', problems);
    sample.#rows = Array.from(indices, (index, i) => ({
      index,
      priority: hash(seed, index),
      values: data.slice(i * dim, (i + 1) * dim),
    }));
    sample.#seen = seen;
    return sample;
  }

  #drop(): void {
    if (this.#rows.length <= this.limit) return;
    this.#rows.sort((a, b) => a.priority - b.priority || a.index - b.index);
    this.#rows.length = this.limit;
    this.#worst = this.#rows.at(-1)!.priority;
  }
}

/** A 32-bit hash of (seed, index) in which every bit of the index counts. */
function hash(seed: number, index: number): number {
  let x = (index ^ Math.imul(seed + 1, 0x9e3779b9)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}
