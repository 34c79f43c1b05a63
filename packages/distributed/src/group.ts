import { InvalidArgumentError } from '@mezzotint/core';
import { fromBfloat16, toBfloat16 } from './bfloat16.js';
import { addPairwise, largest } from './fixed-order.js';
import type { Transport } from './transport.js';

/** Numbers that can be reduced. */
export type Numbers = Float32Array | Float64Array | Int32Array;
/** What can be sent: bytes as they are in memory. */
export type Sendable = Numbers | Uint8Array | Uint16Array | Uint32Array;

/** How the numbers of all processes become one. */
export type Reduction = 'sum' | 'mean' | 'max';

/** What is said of a reduction. */
export interface ReduceOptions {
  /** The format of float32 numbers between processes; sums are made in float32 either way. `float32` when absent. */
  readonly wire?: 'float32' | 'bfloat16';
}

/**
 * Processes (or threads) that work on one thing. Every member calls the same methods in the same order with arrays of the same
 * type; each call resolves when this member's part is done, and the event loop turns meanwhile. Several calls may be under way:
 * they are carried out in turn. Arrays must not be touched between a call and its end.
 *
 * Sums are made in one order, a binary tree over the ranks (see `addPairwise`), whatever arrives first: the same input gives
 * the same bits in every run, and every rank has the same bits.
 */
export interface Group {
  /** Number of this member, from 0. */
  readonly rank: number;
  readonly size: number;
  /** What carries it: `single`, `workers`, or the name and version of the MPI library. */
  readonly name: string;
  /** Bytes that this member has sent to others, without the library's own headers. */
  readonly bytesSent: number;
  /**
   * Reduces each element over all ranks, in place. Gives `values`.
   *
   * @throws InvalidArgumentError for `bfloat16` with anything but float32
   */
  allReduce<T extends Numbers>(values: T, reduction: Reduction, options?: ReduceOptions): Promise<T>;
  /**
   * Sums each element over all ranks; rank r gets `counts[r]` of the sums, in the order of `values`. `values` is left as it is.
   *
   * @param counts one for each rank; equal on all ranks; they add up to the length of `values`
   */
  reduceScatter<T extends Numbers>(values: T, counts: readonly number[], options?: ReduceOptions): Promise<T>;
  /** Fills the array of every rank with that of `root`. Gives `values`. */
  broadcast<T extends Sendable>(values: T, root?: number): Promise<T>;
  /** The arrays of all ranks, in the order of ranks, on every rank. Lengths may differ. */
  allGather<T extends Sendable>(values: T): Promise<T[]>;
  /** The arrays of all ranks, in the order of ranks, on rank `root`; nothing on others. Lengths may differ. */
  gather<T extends Sendable>(values: T, root?: number): Promise<T[] | undefined>;
  /** Resolves when every rank has called it. */
  barrier(): Promise<void>;
  /** Ends the job: every rank fails, with this reason. */
  abort(reason: string): void;
  /** Leaves the group; every rank has to. */
  close(): Promise<void>;
}

/** Most bytes of one collective call: MPI counts in 32 bits, and buffers are of this size. */
const PIECE = 2 ** 28;
/** Arrays of fewer bytes are sent whole to everyone: one round trip instead of two. */
const SMALL = 4096;

/** A group on anything that moves bytes. */
export class TransportGroup implements Group {
  readonly rank: number;
  readonly size: number;
  #sent = 0;
  /** The end of the calls so far: a call begins when the one before has ended, so that all ranks send in the same order. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    readonly name: string,
    readonly transport: Transport,
  ) {
    this.rank = transport.rank;
    this.size = transport.size;
  }

  get bytesSent(): number {
    return this.#sent;
  }

  async allReduce<T extends Numbers>(values: T, reduction: Reduction, options: ReduceOptions = {}): Promise<T> {
    checkWire(values, options);
    await this.#inOrder(async () => {
      for (const piece of pieces(values, PIECE)) await this.#allReduce(piece, reduction, options);
    });
    if (reduction === 'mean') for (let i = 0; i < values.length; i++) values[i] = values[i]! / this.size;
    return values;
  }

  async #allReduce(values: Numbers, reduction: Reduction, options: ReduceOptions): Promise<void> {
    const { size, rank } = this;
    if (size === 1) return;
    const reduce = reduction === 'max' ? largest : addPairwise;
    if (values.byteLength < SMALL) {
      const sent = encode(values, options);
      const all = await this.#allGather(sent, Array<number>(size).fill(sent.length));
      values.set(reduce(all.map((part) => decode(part, values, options))));
      return;
    }
    const counts = evenly(values.length, size);
    const mine = reduce(await this.#scatter(values, counts, options));
    const sent = encode(mine, options);
    const all = await this.#allGather(sent, counts);
    let at = 0;
    for (const [r, part] of all.entries()) {
      values.set(decode(part, values, options), at);
      at += counts[r]!;
    }
    if (rank === 0 && at !== values.length) throw new Error('allReduce: parts do not add up');
  }

  async reduceScatter<T extends Numbers>(
    values: T,
    counts: readonly number[],
    options: ReduceOptions = {},
  ): Promise<T> {
    checkWire(values, options);
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (counts.length !== this.size || total !== values.length) {
      throw new InvalidArgumentError(
        'reduceScatter',
        `expected ${this.size} counts that add up to ${values.length}, got ${counts.length} that add up to ${total}`,
      );
    }
    return this.#inOrder(() => this.#reduceScatter(values, counts, options));
  }

  async #reduceScatter<T extends Numbers>(values: T, counts: readonly number[], options: ReduceOptions): Promise<T> {
    if (values.byteLength <= PIECE || this.size === 1) return addPairwise(await this.#scatter(values, counts, options));
    const out = like(values, counts[this.rank]!);
    const most = Math.floor(PIECE / values.BYTES_PER_ELEMENT / this.size);
    const rounds = Math.ceil(Math.max(...counts) / most);
    const starts = counts.map((_, r) => counts.slice(0, r).reduce((sum, count) => sum + count, 0));
    for (let round = 0; round < rounds; round++) {
      const now = counts.map((count) => Math.max(0, Math.min(most, count - round * most)));
      const part = like(
        values,
        now.reduce((sum, count) => sum + count, 0),
      );
      let at = 0;
      for (const [r, count] of now.entries()) {
        const from = starts[r]! + round * most;
        part.set(values.subarray(from, from + count), at);
        at += count;
      }
      out.set(addPairwise(await this.#scatter(part, now, options)), round * most);
    }
    return out;
  }

  async broadcast<T extends Sendable>(values: T, root = 0): Promise<T> {
    this.#checkRoot('broadcast', root);
    if (this.size === 1) return values;
    await this.#inOrder(async () => {
      for (const piece of pieces(values, PIECE)) {
        if (this.rank === root) this.#sent += piece.byteLength * (this.size - 1);
        await this.transport.broadcast(bytesOf(piece), root);
      }
    });
    return values;
  }

  async allGather<T extends Sendable>(values: T): Promise<T[]> {
    if (this.size === 1) return [values.slice() as T];
    return this.#inOrder(async () => {
      const lengths = await this.#lengths(values.length);
      return this.#inPieces(values, lengths, (part, counts) => this.#allGather(part, counts));
    });
  }

  async gather<T extends Sendable>(values: T, root = 0): Promise<T[] | undefined> {
    this.#checkRoot('gather', root);
    if (this.size === 1) return [values.slice() as T];
    const gathering = async (part: T, counts: readonly number[]) => {
      const width = part.BYTES_PER_ELEMENT;
      const bytes = counts.map((count) => count * width);
      const into = this.rank === root ? new Uint8Array(sum(bytes)) : undefined;
      if (into === undefined) this.#sent += part.byteLength;
      await this.transport.gather(bytesOf(part), into, bytes, root);
      return into === undefined ? counts.map(() => like(part, 0)) : split(into, counts, part);
    };
    const all = await this.#inOrder(async () => this.#inPieces(values, await this.#lengths(values.length), gathering));
    return this.rank === root ? all : undefined;
  }

  async barrier(): Promise<void> {
    if (this.size > 1) await this.#inOrder(() => this.transport.barrier());
  }

  abort(reason: string): void {
    this.transport.abort(reason);
  }

  async close(): Promise<void> {
    await this.#last;
    await this.transport.close();
  }

  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Each rank's part of the values of every rank, in the order of ranks. */
  async #scatter<T extends Numbers>(values: T, counts: readonly number[], options: ReduceOptions): Promise<T[]> {
    const { size, rank } = this;
    const sent = encode(values, options);
    const mine = counts[rank]!;
    if (size === 1) return [decode(sent.slice(), values, options)];
    const width = sent.BYTES_PER_ELEMENT;
    const into = new Uint8Array(mine * width * size);
    await this.transport.exchangeParts(
      bytesOf(sent),
      counts.map((count) => count * width),
      into,
    );
    this.#sent += (values.length - mine) * width;
    return split(into, Array<number>(size).fill(mine), sent).map((part) => decode(part, values, options));
  }

  async #allGather<T extends Sendable>(values: T, counts: readonly number[]): Promise<T[]> {
    const width = values.BYTES_PER_ELEMENT;
    const bytes = counts.map((count) => count * width);
    const into = new Uint8Array(sum(bytes));
    await this.transport.allGather(bytesOf(values), into, bytes);
    this.#sent += values.byteLength * (this.size - 1);
    return split(into, counts, values);
  }

  async #lengths(mine: number): Promise<number[]> {
    const all = await this.#allGather(Float64Array.of(mine), Array<number>(this.size).fill(1));
    return all.map(([length]) => length!);
  }

  /** A gathering of arrays whose bytes together may be more than one call takes. */
  async #inPieces<T extends Sendable>(
    values: T,
    lengths: readonly number[],
    gatherPart: (part: T, counts: readonly number[]) => Promise<T[]>,
  ): Promise<T[]> {
    if (sum(lengths) * values.BYTES_PER_ELEMENT <= PIECE) return gatherPart(values, lengths);
    const most = Math.floor(PIECE / values.BYTES_PER_ELEMENT / this.size);
    const whole: T[] = [];
    for (let from = 0; from < Math.max(...lengths); from += most) {
      const counts = lengths.map((length) => Math.max(0, Math.min(most, length - from)));
      const parts = await gatherPart(values.subarray(from, from + most) as T, counts);
      for (const [r, part] of parts.entries()) {
        if (part.length === 0) continue;
        whole[r] ??= like(values, lengths[r]!);
        whole[r].set(part as never, from);
      }
    }
    return lengths.map((_, r) => whole[r] ?? like(values, 0));
  }

  #checkRoot(who: string, root: number): void {
    if (Number.isInteger(root) && root >= 0 && root < this.size) return;
    throw new InvalidArgumentError(who, `expected a root from 0 to ${this.size - 1}, got ${root}`);
  }
}

function checkWire(values: Numbers, { wire }: ReduceOptions): void {
  if (wire === 'bfloat16' && !(values instanceof Float32Array)) {
    throw new InvalidArgumentError('allReduce', 'only float32 numbers can be sent as bfloat16');
  }
}

/** Numbers as they are sent. */
function encode(values: Numbers, { wire }: ReduceOptions): Numbers | Uint16Array {
  return wire === 'bfloat16' ? toBfloat16(values as Float32Array) : values;
}

/** Numbers as they are computed with. */
function decode<T extends Numbers>(sent: Numbers | Uint16Array, _like: T, { wire }: ReduceOptions): T {
  return (wire === 'bfloat16' ? fromBfloat16(sent as Uint16Array) : sent) as T;
}

/** `length` in `parts` nearly equal counts, the first ones larger. */
export function evenly(length: number, parts: number): number[] {
  return Array.from({ length: parts }, (_, i) => Math.floor(length / parts) + (i < length % parts ? 1 : 0));
}

/** Views of an array of at most `bytes` each. */
function pieces<T extends Sendable>(values: T, bytes: number): T[] {
  const most = Math.floor(bytes / values.BYTES_PER_ELEMENT);
  const count = Math.max(1, Math.ceil(values.length / most));
  return Array.from({ length: count }, (_, i) => values.subarray(i * most, (i + 1) * most) as T);
}

/** Views of bytes as arrays of the type of `of`, `counts` elements each. */
function split<T extends Sendable>(bytes: Uint8Array, counts: readonly number[], of: T): T[] {
  const Type = of.constructor as new (buffer: ArrayBufferLike, offset: number, length: number) => T;
  let at = bytes.byteOffset;
  return counts.map((count) => {
    const view = new Type(bytes.buffer, at, count);
    at += view.byteLength;
    return view;
  });
}

function like<T extends Sendable>(of: T, length: number): T {
  return new (of.constructor as new (length: number) => T)(length);
}

function bytesOf(values: Sendable): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}
