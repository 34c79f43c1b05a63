const utf8 = new TextEncoder();

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/**
 * Writes protocol buffer messages. Large byte fields (weights) are kept as references and copied once, in `finish`.
 */
export class ProtobufWriter {
  #chunks: Uint8Array[] = [];
  #buffer = new Uint8Array(256);
  #view = new DataView(this.#buffer.buffer);
  #used = 0;
  #length = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** An integer field; negative numbers take ten bytes as the format demands of int64. */
  int(field: number, value: number): void {
    this.#tag(field, VARINT);
    this.#varint(value);
  }

  float(field: number, value: number): void {
    this.#tag(field, FIXED32);
    this.#reserve(4);
    this.#view.setFloat32(this.#used, value, true);
    this.#advance(4);
  }

  string(field: number, value: string): void {
    this.bytes(field, utf8.encode(value));
  }

  bytes(field: number, value: Uint8Array): void {
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(value.length);
    this.#append(value);
  }

  message(field: number, write: (inner: ProtobufWriter) => void): void {
    const inner = new ProtobufWriter();
    write(inner);
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(inner.#length);
    for (const chunk of inner.#parts()) this.#append(chunk);
  }

  packedInts(field: number, values: readonly number[]): void {
    this.message(field, (inner) => {
      for (const value of values) inner.#varint(value);
    });
  }

  packedFloats(field: number, values: readonly number[]): void {
    this.bytes(field, new Uint8Array(Float32Array.from(values).buffer));
  }

  finish(): Uint8Array {
    const out = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts()) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  #parts(): readonly Uint8Array[] {
    return this.#used === 0 ? this.#chunks : [...this.#chunks, this.#buffer.subarray(0, this.#used)];
  }

  #tag(field: number, wire: number): void {
    this.#varint(field * 8 + wire);
  }

  #varint(value: number): void {
    this.#reserve(10);
    if (value < 0) {
      let rest = BigInt.asUintN(64, BigInt(value));
      while (rest > 127n) {
        this.#buffer[this.#used] = Number(rest & 127n) | 128;
        this.#advance(1);
        rest >>= 7n;
      }
      this.#buffer[this.#used] = Number(rest);
      this.#advance(1);
      return;
    }
    let rest = value;
    while (rest > 127) {
      this.#buffer[this.#used] = (rest % 128) | 128;
      this.#advance(1);
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.#used] = rest;
    this.#advance(1);
  }

  #append(bytes: Uint8Array): void {
    if (bytes.length > 1024) {
      if (this.#used > 0) this.#chunks.push(this.#buffer.slice(0, this.#used));
      this.#used = 0;
      this.#chunks.push(bytes);
      this.#length += bytes.length;
      return;
    }
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#used);
    this.#advance(bytes.length);
  }

  #reserve(bytes: number): void {
    if (this.#used + bytes <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(this.#buffer.length * 2, this.#used + bytes));
    grown.set(this.#buffer.subarray(0, this.#used));
    this.#buffer = grown;
    this.#view = new DataView(grown.buffer);
  }

  #advance(bytes: number): void {
    this.#used += bytes;
    this.#length += bytes;
  }
}
