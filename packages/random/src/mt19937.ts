import { InvalidArgumentError } from './invalid-argument-error.js';

const N = 624;
const M = 397;

/** Where an MT19937 stream stands, as JSON: the 624 words of the block, and how many of them are used up. */
export interface Mt19937State {
  readonly key: readonly number[];
  readonly position: number;
}

/**
 * The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), the engine below PyTorch's CPU generator and NumPy's
 * RandomState. Makes its words 624 at a time, so that many can be read in whole blocks.
 */
export class Mt19937 {
  readonly #key = new Int32Array(N);
  /** The tempered words of the current block; those from `position` on are not used yet. */
  readonly words = new Uint32Array(N);
  position = N;

  /** Seeds as init_genrand does, with the low 32 bits of `seed`. */
  constructor(seed: number) {
    const key = this.#key;
    key[0] = seed | 0;
    for (let i = 1; i < N; i++) {
      const before = key[i - 1]!;
      key[i] = (Math.imul(1812433253, before ^ (before >>> 30)) + i) | 0;
    }
  }

  /** The next 32-bit word. */
  next(): number {
    if (this.position === N) this.refill();
    return this.words[this.position++]!;
  }

  /** The next words, as many as `out` has room for. */
  fill(out: Uint32Array): void {
    for (let at = 0; at < out.length; ) {
      if (this.position === N) this.refill();
      const take = Math.min(N - this.position, out.length - at);
      out.set(this.words.subarray(this.position, this.position + take), at);
      this.position += take;
      at += take;
    }
  }

  /** Makes the next block of words. */
  refill(): void {
    const key = this.#key;
    let i = 0;
    for (; i < N - M; i++) key[i] = key[i + M]! ^ twist(key[i]!, key[i + 1]!);
    for (; i < N - 1; i++) key[i] = key[i + M - N]! ^ twist(key[i]!, key[i + 1]!);
    key[N - 1] = key[M - 1]! ^ twist(key[N - 1]!, key[0]!);
    this.#temper();
    this.position = 0;
  }

  state(): Mt19937State {
    return { key: Array.from(this.#key, (word) => word >>> 0), position: this.position };
  }

  /**
   * The stream that stood at `state`.
   *
   * @throws InvalidArgumentError when `state` is not 624 words of 32 bits and a position in [0, 624]
   */
  static fromState(state: Mt19937State): Mt19937 {
    const problems: string[] = [];
    const { key, position } = state;
    if (!Array.isArray(key) || key.length !== N || !key.every((w) => Number.isInteger(w) && w >= 0 && w < 2 ** 32)) {
      problems.push(`state.key must be ${N} integers in [0, 2^32)`);
    }
    if (!Number.isInteger(position) || position < 0 || position > N) {
      problems.push(`state.position must be an integer in [0, ${N}], got ${position}`);
    }
    if (problems.length > 0) throw new InvalidArgumentError('Mt19937', problems);
    const engine = new Mt19937(0);
    engine.#key.set(key);
    engine.#temper();
    engine.position = position;
    return engine;
  }

  #temper(): void {
    const key = this.#key;
    const words = this.words;
    for (let i = 0; i < N; i++) {
      let y = key[i]!;
      y ^= y >>> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      words[i] = y ^ (y >>> 18);
    }
  }
}

function twist(u: number, v: number): number {
  const mixed = (u & 0x80000000) | (v & 0x7fffffff);
  return (mixed >>> 1) ^ (-(v & 1) & 0x9908b0df);
}
