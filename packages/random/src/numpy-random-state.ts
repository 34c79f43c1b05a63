import { InvalidArgumentError } from './invalid-argument-error.js';
import { logOfGlibc } from './log-of-glibc.js';
import { Mt19937, type Mt19937State } from './mt19937.js';

/** Where a NumpyRandomState stands, as JSON. */
export interface NumpyRandomStateSnapshot extends Mt19937State {
  /** The second normal of a pair of which one was given out; null when there is none. */
  readonly nextNormal: number | null;
}

/**
 * The stream of NumPy's legacy `RandomState(seed)` (what `np.random.seed` seeds), which NumPy has frozen: `randn`,
 * `rand`, `randint` (int64) and `permutation`, in any order of calls. float64, as in NumPy.
 */
export class NumpyRandomState {
  #engine: Mt19937;
  #nextNormal: number | null = null;

  /**
   * @param seed an integer in [0, 2^32)
   * @throws InvalidArgumentError when it is not
   */
  constructor(seed: number) {
    if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) {
      throw new InvalidArgumentError('NumpyRandomState', `the seed must be an integer in [0, 2^32), got ${seed}`);
    }
    this.#engine = new Mt19937(seed);
  }

  /** n uniforms of 53 bits in [0, 1). */
  rand(n: number): Float64Array {
    return new Float64Array(count(n)).map(() => this.#uniform53());
  }

  /** n standard normals by Marsaglia's polar method; the second of each pair is kept for the next call. */
  randn(n: number): Float64Array {
    return new Float64Array(count(n)).map(() => this.#normal());
  }

  /**
   * n integers in [low, high), by rejection under a bit mask.
   *
   * @throws InvalidArgumentError when the bounds are not safe integers with low < high
   */
  randint(low: number, high: number, n: number): Float64Array {
    if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || low >= high) {
      throw new InvalidArgumentError(
        'NumpyRandomState.randint',
        `the bounds must be safe integers with low < high, got ${low} and ${high}`,
      );
    }
    const most = high - 1 - low;
    return new Float64Array(count(n)).map(() => low + this.#below(most));
  }

  /** The numbers 0..n-1 in random order. */
  permutation(n: number): Int32Array {
    return this.shuffle(Int32Array.from({ length: count(n) }, (_, i) => i));
  }

  /** Puts the elements of `items` in random order, in place, and returns it. */
  shuffle<T extends { readonly length: number; [i: number]: unknown }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.#below(i);
      const kept = items[i];
      items[i] = items[j];
      items[j] = kept;
    }
    return items;
  }

  /** Where the stream stands; `fromState` goes on from there. */
  state(): NumpyRandomStateSnapshot {
    return { ...this.#engine.state(), nextNormal: this.#nextNormal };
  }

  /**
   * The stream that stood at `state`, which may have been through JSON.
   *
   * @throws InvalidArgumentError when it is not a state
   */
  static fromState(state: NumpyRandomStateSnapshot): NumpyRandomState {
    const stream = new NumpyRandomState(0);
    stream.#engine = Mt19937.fromState(state);
    if (state.nextNormal !== null && typeof state.nextNormal !== 'number') {
      throw new InvalidArgumentError(
        'NumpyRandomState',
        `state.nextNormal must be a number or null, got ${state.nextNormal}`,
      );
    }
    stream.#nextNormal = state.nextNormal;
    return stream;
  }

  #uniform53(): number {
    const a = this.#engine.next() >>> 5;
    const b = this.#engine.next() >>> 6;
    return (a * 67108864 + b) / 9007199254740992;
  }

  #normal(): number {
    if (this.#nextNormal !== null) {
      const kept = this.#nextNormal;
      this.#nextNormal = null;
      return kept;
    }
    for (;;) {
      const x1 = 2 * this.#uniform53() - 1;
      const x2 = 2 * this.#uniform53() - 1;
      const r2 = x1 * x1 + x2 * x2;
      if (r2 >= 1 || r2 === 0) continue;
      const scale = Math.sqrt((-2 * logOfGlibc(r2)) / r2);
      this.#nextNormal = scale * x1;
      return scale * x2;
    }
  }

  /** An integer in [0, most]: draws under the smallest mask of ones that covers `most` until one fits. */
  #below(most: number): number {
    if (most === 0) return 0;
    if (most < 2 ** 32) {
      const mask = 0xffffffff >>> Math.clz32(most);
      for (;;) {
        const draw = (this.#engine.next() & mask) >>> 0;
        if (draw <= most) return draw;
      }
    }
    const mask = 0xffffffff >>> Math.clz32(Math.floor(most / 2 ** 32));
    for (;;) {
      const high = (this.#engine.next() & mask) >>> 0;
      const draw = high * 2 ** 32 + this.#engine.next();
      if (draw <= most) return draw;
    }
  }
}

function count(n: number): number {
  if (!Number.isSafeInteger(n) || n < 0) {
    throw new InvalidArgumentError('NumpyRandomState', `the count must be an integer of at least 0, got ${n}`);
  }
  return n;
}
