import { InvalidFileError } from '@mezzotint/core';

/** No rule of a real file replaces a few bytes by so many. */
const LONGEST_REPLACEMENT = 256;

/**
 * Character rules as sentencepiece compiles them: a double-array trie (Aoe 1989; a unit of 32 bits a node: offset,
 * label, leaf) from bytes to places in a list of zero-terminated replacements.
 */
export class Charsmap {
  readonly #units: Uint32Array;
  readonly #replacements: Uint8Array;

  /** @throws InvalidFileError when the sizes do not fit */
  constructor(
    readonly file: string,
    bytes: Uint8Array,
  ) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const size = bytes.length >= 4 ? view.getUint32(0, true) : 0;
    if (size < 4 || size % 4 !== 0 || size > bytes.length - 4) {
      throw new InvalidFileError(file, `its character rules say that their index has ${size} of ${bytes.length} bytes`);
    }
    this.#units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.#replacements = bytes.subarray(4 + size);
  }

  /** At each place of the text, the longest rule that fits is applied; a character without a rule stays. */
  normalize(text: string): string {
    const bytes = new TextEncoder().encode(text);
    const out: number[] = [];
    let at = 0;
    while (at < bytes.length) {
      const rule = this.#longest(bytes, at);
      const length = rule?.length ?? utf8Length(bytes[at]!);
      for (const byte of rule?.replacement ?? bytes.subarray(at, at + length)) out.push(byte);
      at += length;
    }
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(out));
  }

  #longest(bytes: Uint8Array, from: number): { length: number; replacement: Uint8Array } | undefined {
    let found: { length: number; value: number } | undefined;
    let node = offsetOf(this.#unit(0));
    for (let at = from; at < bytes.length; at++) {
      const byte = bytes[at]!;
      const unit = this.#units[(node ^ byte) >>> 0];
      if (unit === undefined || labelOf(unit) !== byte) break;
      node = (node ^ byte ^ offsetOf(unit)) >>> 0;
      if (isBeforeLeaf(unit)) found = { length: at + 1 - from, value: this.#unit(node) & 0x7fff_ffff };
    }
    return found && { length: found.length, replacement: this.#replacement(found.value) };
  }

  #unit(node: number): number {
    const unit = this.#units[node];
    if (unit === undefined) throw new InvalidFileError(this.file, 'its character rules lead out of their index');
    return unit;
  }

  #replacement(start: number): Uint8Array {
    const end = this.#replacements.indexOf(0, start);
    if (start > this.#replacements.length || end < 0 || end - start > LONGEST_REPLACEMENT) {
      throw new InvalidFileError(this.file, 'its character rules lead out of their replacements');
    }
    return this.#replacements.subarray(start, end);
  }
}

/** Whether the node has a leaf among its children. */
function isBeforeLeaf(unit: number): boolean {
  return ((unit >>> 8) & 1) === 1;
}

/** The byte that leads to the node; a leaf's top bit is set, so that no byte leads there. */
function labelOf(unit: number): number {
  return (unit & 0x8000_00ff) >>> 0;
}

function offsetOf(unit: number): number {
  return ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0;
}

function utf8Length(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}
