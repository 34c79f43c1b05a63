import { boxMuller16 } from './box-muller.js';
import { vectorNormals } from './box-muller-simd.js';
import { InvalidArgumentError } from './invalid-argument-error.js';
import { Mt19937, type Mt19937State } from './mt19937.js';
import type { RandomStream } from './random-stream.js';
import { type Seed, seedValue } from './seed.js';

/** From so many normals on, making the vector kernel pays. */
const VECTORS_FROM = 8192;
/** Ranges of integers from here on take two words a draw. */
const WIDE_RANGE = 2 ** 28;

/** Where a TorchGenerator stands, as JSON. */
export interface TorchGeneratorState extends Mt19937State {
  /** The second normal of a pair of which one was given out; null when there is none. */
  readonly nextNormal: number | null;
}

/**
 * The stream of PyTorch's CPU generator (2.x, float32, on x86 with AVX2), to the last bit: what
 * `torch.manual_seed(seed)` and then `torch.randn(n)`, `torch.rand(n)` and `torch.randint(low, high, (n,))` give, in
 * any order of calls. Seeds port from Python.
 */
export class TorchGenerator implements RandomStream {
  #engine: Mt19937;
  #nextNormal: number | null = null;

  /**
   * @param seed as `torch.manual_seed` takes it: an integer in [-2^63, 2^64). Only its low 32 bits reach the engine.
   * @throws InvalidArgumentError when it is not such an integer, or a number past 2^53 (use a bigint or digits)
   */
  constructor(seed: Seed) {
    this.#engine = new Mt19937(low32(seed));
  }

  /** n uniforms of 24 bits in [0, 1). */
  rand(n: number): Float32Array {
    const out = new Float32Array(count(n));
    this.#uniforms(out);
    return out;
  }

  /**
   * n standard normals. As in PyTorch, 16 or more are made at once (Box-Muller in float32), and fewer one by one in
   * float64, the second of each pair kept for the next such call; the two ways give different numbers from one seed.
   */
  randn(n: number): Float32Array {
    const out = new Float32Array(count(n));
    if (n < 16) {
      for (let i = 0; i < n; i++) out[i] = this.#normal();
      return out;
    }
    const tail = n % 16;
    this.#blocks(out, n - tail);
    if (tail > 0) {
      // The tail uses up its uniforms, and then the last 16 are drawn anew, over what was there.
      for (let i = 0; i < tail; i++) this.#engine.next();
      this.#uniforms(out, n - 16);
      boxMuller16(out, n - 16);
    }
    return out;
  }

  /**
   * n integers in [low, high), as `torch.randint`: the remainder of a 32-bit draw, of a 64-bit draw when the range is
   * 2^28 or more.
   *
   * @throws InvalidArgumentError when the bounds are not integers in [-2^31, 2^31] with low < high
   */
  randint(low: number, high: number, n: number): Int32Array {
    const problems: string[] = [];
    if (!Number.isInteger(low) || low < -(2 ** 31))
      problems.push(`low must be an integer of at least -2^31, got ${low}`);
    if (!Number.isInteger(high) || high > 2 ** 31)
      problems.push(`high must be an integer of at most 2^31, got ${high}`);
    if (!(low < high)) problems.push(`low must be below high, got ${low} and ${high}`);
    if (problems.length > 0) throw new InvalidArgumentError('TorchGenerator.randint', problems);
    const range = high - low;
    const out = new Int32Array(count(n));
    if (range < WIDE_RANGE) {
      for (let i = 0; i < n; i++) out[i] = low + (this.#engine.next() % range);
    } else {
      const wide = BigInt(range);
      for (let i = 0; i < n; i++) out[i] = low + Number(this.#word64() % wide);
    }
    return out;
  }

  /**
   * `randint` for bounds past 32 bits, for example the seeds that `torch.randint(0, 2**63 - 1, (n,))` draws.
   *
   * @throws InvalidArgumentError when the bounds are not in [-2^63, 2^63] with low < high
   */
  randint64(low: bigint, high: bigint, n: number): BigInt64Array {
    if (low < -(2n ** 63n) || high > 2n ** 63n || low >= high) {
      throw new InvalidArgumentError(
        'TorchGenerator.randint64',
        `the bounds must be in [-2^63, 2^63] with low < high, got ${low} and ${high}`,
      );
    }
    const range = high - low;
    const out = new BigInt64Array(count(n));
    for (let i = 0; i < n; i++) {
      out[i] = low + ((range < WIDE_RANGE ? BigInt(this.#engine.next()) : this.#word64()) % range);
    }
    return out;
  }

  /** The numbers 0..n-1 in random order, as `torch.randperm(n)` for n below 2^32 / 20. */
  randperm(n: number): Int32Array {
    const out = Int32Array.from({ length: count(n) }, (_, i) => i);
    for (let i = 0; i < n - 1; i++) {
      const j = i + (this.#engine.next() % (n - i));
      const kept = out[i]!;
      out[i] = out[j]!;
      out[j] = kept;
    }
    return out;
  }

  /** Where the stream stands; `fromState` goes on from there, bit for bit. */
  state(): TorchGeneratorState {
    return { ...this.#engine.state(), nextNormal: this.#nextNormal };
  }

  /**
   * The stream that stood at `state`, which may have been through JSON.
   *
   * @throws InvalidArgumentError when it is not a state
   */
  static fromState(state: TorchGeneratorState): TorchGenerator {
    const generator = new TorchGenerator(0);
    generator.#engine = Mt19937.fromState(state);
    if (state.nextNormal !== null && typeof state.nextNormal !== 'number') {
      throw new InvalidArgumentError(
        'TorchGenerator',
        `state.nextNormal must be a number or null, got ${state.nextNormal}`,
      );
    }
    generator.#nextNormal = state.nextNormal;
    return generator;
  }

  /** The first `count` normals, a multiple of 16. */
  #blocks(out: Float32Array, count: number): void {
    const vectors = count >= VECTORS_FROM ? vectorNormals() : null;
    if (vectors === null) {
      this.#uniforms(out, 0, count);
      for (let at = 0; at < count; at += 16) boxMuller16(out, at);
      return;
    }
    const { words, normals, run } = vectors;
    for (let at = 0; at < count; at += words.length) {
      const take = Math.min(words.length, count - at);
      this.#engine.fill(words.subarray(0, take));
      run(take);
      out.set(normals.subarray(0, take), at);
    }
  }

  /** Uniforms to out[from...end]. */
  #uniforms(out: Float32Array, from = 0, end = out.length): void {
    const engine = this.#engine;
    const words = engine.words;
    for (let at = from; at < end; ) {
      if (engine.position === words.length) engine.refill();
      const start = engine.position;
      const take = Math.min(words.length - start, end - at);
      for (let i = 0; i < take; i++) out[at + i] = (words[start + i]! & 0xffffff) * 2 ** -24;
      engine.position = start + take;
      at += take;
    }
  }

  /** Box-Muller in float64 over uniforms of 53 bits; gives the cosine first and keeps the sine. */
  #normal(): number {
    if (this.#nextNormal !== null) {
      const kept = this.#nextNormal;
      this.#nextNormal = null;
      return kept;
    }
    const u1 = this.#uniform53();
    const u2 = this.#uniform53();
    const radius = Math.sqrt(-2 * Math.log1p(-u2));
    const theta = 2 * Math.PI * u1;
    this.#nextNormal = radius * Math.sin(theta);
    return radius * Math.cos(theta);
  }

  #word64(): bigint {
    const high = BigInt(this.#engine.next());
    return (high << 32n) | BigInt(this.#engine.next());
  }

  #uniform53(): number {
    const high = this.#engine.next() & 0x1fffff;
    return (high * 2 ** 32 + this.#engine.next()) * 2 ** -53;
  }
}

function low32(seed: Seed): number {
  return Number(BigInt.asUintN(32, seedValue('TorchGenerator', seed)));
}

function count(n: number): number {
  if (!Number.isSafeInteger(n) || n < 0) {
    throw new InvalidArgumentError('TorchGenerator', `the count must be an integer of at least 0, got ${n}`);
  }
  return n;
}
