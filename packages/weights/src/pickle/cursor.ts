import { InvalidFileError, readingBudget } from '@mezzotint/core';
import { PickleBytes } from './values.js';

/** Byte strings from this length stay in the file. */
const INLINE_BYTES = 1 << 12;

/** Longest integer that is read; torch's longest has 10 bytes. */
const MAX_INTEGER_BYTES = 64;

/** Thrown when an instruction reaches past the window, before it has changed anything; it is run again with more. */
export class NeedBytes {
  constructor(readonly end: number) {}
}

/** The reading head of a pickle: takes the arguments of instructions out of a window of the file. */
export class PickleCursor {
  /** Offset of the instruction that is being run. */
  position: number;
  #bytes = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #windowStart = 0;
  #at = 0;

  constructor(
    readonly file: string,
    readonly size: number,
    start: number,
  ) {
    this.position = start;
  }

  /** Gives the bytes from `position` on. */
  window(bytes: Uint8Array<ArrayBuffer>): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
    this.#windowStart = this.position;
  }

  /** Begins the instruction at `position`. */
  begin(): void {
    this.#at = this.position;
  }

  /** The instruction was run: the next one begins where its arguments ended. */
  end(): void {
    this.position = this.#at;
  }

  /** The next `length` bytes of the instruction. */
  take(length: number): DataView {
    const end = this.#at + length;
    if (end > this.size) this.fail('it ends in the middle');
    if (this.#at < this.#windowStart || end > this.#windowStart + this.#bytes.byteLength) throw new NeedBytes(end);
    const view = new DataView(this.#view.buffer, this.#at - this.#windowStart, length);
    this.#at = end;
    return view;
  }

  /** One byte. */
  u8(): number {
    return this.take(1).getUint8(0);
  }

  /** Four bytes, little-endian. */
  u32(): number {
    return this.take(4).getUint32(0, true);
  }

  /** A length of eight bytes, at most that of the file. */
  length(): number {
    const length = this.take(8).getBigUint64(0, true);
    if (length > BigInt(this.size)) this.fail(`it claims ${length} bytes`);
    return Number(length);
  }

  #chars(length: number): Uint8Array {
    const view = this.take(length);
    return new Uint8Array(view.buffer, view.byteOffset, length);
  }

  /** UTF-8. */
  text(length: number): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.#chars(length));
    } catch (cause) {
      if (cause instanceof NeedBytes || InvalidFileError.isInstance(cause)) throw cause;
      return this.fail('a text is not UTF-8');
    }
  }

  /** Latin-1, for Python 2's strings. */
  latin(length: number): string {
    return new TextDecoder('latin1').decode(this.#chars(length));
  }

  /** Bytes; many of them stay in the file. */
  byteString(length: number): Uint8Array | PickleBytes {
    if (length < INLINE_BYTES) return this.#chars(length).slice();
    if (this.#at + length > this.size) this.fail('it ends in the middle');
    const bytes = new PickleBytes(this.#at, length);
    this.#at += length;
    return bytes;
  }

  /** A line without its end. */
  line(): string {
    const start = this.#at;
    while (this.u8() !== 0x0a) if (this.#at - start > readingBudget.pickleLineBytes) this.fail('a line does not end');
    const length = this.#at - start - 1;
    this.#at = start;
    const line = this.text(length);
    this.#at += 1;
    return line;
  }

  /** A line with a whole number. */
  decimal(): number {
    const value = Number(this.line());
    return Number.isSafeInteger(value) ? value : this.fail('a number is malformed');
  }

  /** A line with a whole number, or with Python 1's truth values. */
  textInteger(): number | boolean {
    const line = this.line();
    if (line === '00' || line === '01') return line === '01';
    const value = Number(line.replace(/L$/, ''));
    return Number.isSafeInteger(value) ? value : this.fail('a number is malformed');
  }

  /** Little-endian two's complement. */
  integer(length: number): number | bigint {
    if (length > MAX_INTEGER_BYTES) this.fail(`an integer has ${length} bytes`);
    const bytes = this.#chars(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
    value = BigInt.asIntN(8 * length, value);
    const narrow = Number(value);
    return Number.isSafeInteger(narrow) ? narrow : value;
  }

  fail(problem: string): never {
    throw new InvalidFileError(this.file, `damaged or refused pickle at byte ${this.position}: ${problem}`);
  }
}
