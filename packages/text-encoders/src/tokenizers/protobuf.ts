import { InvalidFileError } from '@mezzotint/core';

/** A field of a message: its number and its value, by wire type (a fixed 32-bit value as the float that it is here). */
export type Field =
  | { readonly number: number; readonly varint: number }
  | { readonly number: number; readonly float32: number }
  | { readonly number: number; readonly bytes: Uint8Array };

/**
 * The fields of a protocol buffer message in order; 64-bit fixed values are passed over. Every length is checked
 * against the bytes that are there, and nothing is copied.
 *
 * @throws InvalidFileError when the bytes are no message
 */
export function* protobufFields(file: string, bytes: Uint8Array): Generator<Field> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (length: number): number => {
    const start = at;
    if (length > bytes.length - at) throw new InvalidFileError(file, `ends inside a field at byte ${start}`);
    at += length;
    return start;
  };
  /** Up to 64 bits; what is above 2^53 (negative numbers) loses digits that nothing here needs. */
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[take(1)]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new InvalidFileError(file, `has a number of more than ten bytes before byte ${at}`);
  };
  while (at < bytes.length) {
    const start = at;
    const key = varint();
    const number = Math.floor(key / 8);
    switch (key % 8) {
      case 0:
        yield { number, varint: varint() };
        break;
      case 1:
        take(8);
        break;
      case 2: {
        const length = varint();
        const from = take(length);
        yield { number, bytes: bytes.subarray(from, from + length) };
        break;
      }
      case 5:
        yield { number, float32: view.getFloat32(take(4), true) };
        break;
      default:
        throw new InvalidFileError(file, `is no protocol buffer: wire type ${key % 8} at byte ${start}`);
    }
  }
}
