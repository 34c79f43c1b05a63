import { InvalidArgumentError, MezzotintError } from '@mezzotint/core';
import { type Group, TransportGroup } from './group.js';
import type { Transport } from './transport.js';

/** A member's place in a group of threads. Plain data: give it to a thread as `workerData` or in a message. */
export interface WorkerSeat {
  readonly rank: number;
  readonly size: number;
  readonly memory: SharedArrayBuffer;
}

/** How a group of threads is made. */
export interface WorkersOptions {
  /** Bytes of shared memory for each member; what is larger goes through in pieces. 1 MiB when absent. */
  readonly slotBytes?: number;
}

/** Words before the slots: members that wait, the number of the wait, whether the job was aborted, length of the reason. */
const [ARRIVED, TURN, ABORTED, REASON_LENGTH] = [0, 1, 2, 3];
const HEADER = 64;
const REASON = 1024;

/**
 * The seats of a group of `size` threads of one process, which meet in shared memory. Each thread makes its group by
 * `joinWorkers`; several members in one thread work as well.
 *
 * @throws InvalidArgumentError when a number is out of range
 */
export function workers(size: number, { slotBytes = 2 ** 20 }: WorkersOptions = {}): WorkerSeat[] {
  const problems: string[] = [];
  if (!Number.isInteger(size) || size < 1) problems.push(`expected a whole number of threads from 1, got ${size}`);
  if (!Number.isInteger(slotBytes) || slotBytes < 8)
    problems.push(`expected slotBytes of at least 8, got ${slotBytes}`);
  if (problems.length > 0) throw new InvalidArgumentError('workers', problems);
  const memory = new SharedArrayBuffer(HEADER + REASON + size * slotBytes);
  return Array.from({ length: size }, (_, rank) => ({ rank, size, memory }));
}

/** The group of a seat. */
export function joinWorkers(seat: WorkerSeat): Group {
  return new TransportGroup('workers', new SharedMemory(seat));
}

/** Node's `Atomics.waitAsync`, which TypeScript's ES2022 does not know. */
type WaitAsync = (
  array: Int32Array,
  index: number,
  value: number,
) => { readonly async: boolean; readonly value: string | Promise<string> };
const waitAsync = (Atomics as unknown as { readonly waitAsync: WaitAsync }).waitAsync;

/** Each member writes into its slot; when all have, each reads what it needs; when all have, the slots are free again. */
class SharedMemory implements Transport {
  readonly rank: number;
  readonly size: number;
  readonly #words: Int32Array;
  readonly #reason: Uint8Array;
  readonly #slots: readonly Uint8Array[];
  readonly #slotBytes: number;

  constructor({ rank, size, memory }: WorkerSeat) {
    this.rank = rank;
    this.size = size;
    this.#words = new Int32Array(memory, 0, HEADER / 4);
    this.#reason = new Uint8Array(memory, HEADER, REASON);
    this.#slotBytes = Math.floor((memory.byteLength - HEADER - REASON) / size);
    this.#slots = Array.from(
      { length: size },
      (_, r) => new Uint8Array(memory, HEADER + REASON + r * this.#slotBytes, this.#slotBytes),
    );
  }

  exchangeParts(bytes: Uint8Array, counts: readonly number[], into: Uint8Array): Promise<void> {
    const from = counts.slice(0, this.rank).reduce((sum, count) => sum + count, 0);
    const mine = counts[this.rank]!;
    return this.#rounds(bytes, bytes.length, (r, slot, at) => {
      // Of the window [at, at + slot.length) of rank r's bytes, what is for this rank.
      const first = Math.max(from, at);
      const end = Math.min(from + mine, at + slot.length);
      if (first < end) into.set(slot.subarray(first - at, end - at), r * mine + first - from);
    });
  }

  allGather(bytes: Uint8Array, into: Uint8Array | undefined, counts: readonly number[]): Promise<void> {
    const starts = counts.map((_, r) => counts.slice(0, r).reduce((sum, count) => sum + count, 0));
    return this.#rounds(bytes, Math.max(...counts), (r, slot, at) => {
      const count = Math.max(0, Math.min(slot.length, counts[r]! - at));
      if (count > 0) into?.set(slot.subarray(0, count), starts[r]! + at);
    });
  }

  gather(bytes: Uint8Array, into: Uint8Array | undefined, counts: readonly number[]): Promise<void> {
    return this.allGather(bytes, into, counts);
  }

  broadcast(bytes: Uint8Array, root: number): Promise<void> {
    return this.#rounds(this.rank === root ? bytes : bytes.subarray(0, 0), bytes.length, (r, slot, at) => {
      if (r === root && this.rank !== root) bytes.set(slot.subarray(0, Math.min(slot.length, bytes.length - at)), at);
    });
  }

  barrier(): Promise<void> {
    return this.#meet();
  }

  abort(reason: string): void {
    const text = new TextEncoder().encode(`rank ${this.rank}: ${reason}`).subarray(0, REASON);
    this.#reason.set(text);
    this.#words[REASON_LENGTH] = text.length;
    Atomics.store(this.#words, ABORTED, 1);
    Atomics.add(this.#words, TURN, 1);
    Atomics.notify(this.#words, TURN);
  }

  async close(): Promise<void> {}

  /** Shows `bytes` to all, a slot at a time; `read` sees the slot of each rank and where it lies in that rank's bytes. */
  async #rounds(
    bytes: Uint8Array,
    length: number,
    read: (rank: number, slot: Uint8Array, at: number) => void,
  ): Promise<void> {
    for (let at = 0; at < length; at += this.#slotBytes) {
      this.#slots[this.rank]!.set(bytes.subarray(at, at + this.#slotBytes));
      await this.#meet();
      for (const [r, slot] of this.#slots.entries()) read(r, slot.subarray(0, length - at), at);
      await this.#meet();
    }
  }

  async #meet(): Promise<void> {
    this.#check();
    const turn = Atomics.load(this.#words, TURN);
    if (Atomics.add(this.#words, ARRIVED, 1) === this.size - 1) {
      Atomics.store(this.#words, ARRIVED, 0);
      Atomics.add(this.#words, TURN, 1);
      Atomics.notify(this.#words, TURN);
    } else {
      const alive = setInterval(() => undefined, 2 ** 30); // A wait for memory alone does not keep a thread from ending.
      while (Atomics.load(this.#words, TURN) === turn) await waitAsync(this.#words, TURN, turn).value;
      clearInterval(alive);
    }
    this.#check();
  }

  #check(): void {
    if (Atomics.load(this.#words, ABORTED) === 0) return;
    const reason = new TextDecoder().decode(this.#reason.slice(0, this.#words[REASON_LENGTH]));
    throw new MezzotintError('MEZZOTINT_JOB_ABORTED', `The job was ended by ${reason}`);
  }
}
