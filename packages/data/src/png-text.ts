import { crc32 } from 'node:zlib';
import { InvalidArgumentError, InvalidFileError, readingBudget } from '@mezzotint/core';

/** Texts inside a PNG by keyword, such as the recipe of a picture. */
export type PngText = Readonly<Record<string, string>>;

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const;
const END_CHUNK = 12; // IEND: length, type, checksum; no data

/** True when the bytes start as a PNG file does. */
export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

/**
 * A PNG with texts put before its end: `tEXt` when a text is Latin-1, else `iTXt` in UTF-8 (PNG specification, 11.3.3).
 *
 * @throws InvalidArgumentError for keywords that are not 1 to 79 printable Latin-1 characters, and texts with a NUL
 */
export function withText(png: Uint8Array, text: PngText): Uint8Array {
  const entries = Object.entries(text);
  const problems = entries.flatMap(([keyword, value]) => {
    const bad = [];
    if (!/^[\x21-\x7e\xa1-\xff](?:[\x20-\x7e\xa1-\xff]{0,77}[\x21-\x7e\xa1-\xff])?$/.test(keyword)) {
      bad.push(`expected a keyword of 1 to 79 printable Latin-1 characters, got ${JSON.stringify(keyword)}`);
    }
    if (value.includes('\0')) bad.push(`expected a text without NUL for ${JSON.stringify(keyword)}`);
    return bad;
  });
  if (problems.length > 0) throw new InvalidArgumentError('PNG text', problems);
  const chunks = entries.map(([keyword, value]) => textChunk(keyword, value));
  const end = png.length - END_CHUNK;
  return Buffer.concat([png.subarray(0, end), ...chunks, png.subarray(end)]);
}

/** One chunk of a PNG. */
interface PngChunk {
  readonly type: string;
  readonly data: Buffer;
  /** Type and data, which the checksum is of. */
  readonly checked: Buffer;
  readonly sum: number;
}

/**
 * The chunks of a PNG up to its end.
 *
 * @param name the file, for the error
 * @throws InvalidFileError when a chunk runs past the end of the file
 */
export function* chunksOf(png: Uint8Array, name: string): Generator<PngChunk, void, undefined> {
  const bytes = Buffer.from(png.buffer, png.byteOffset, png.byteLength);
  let at: number = SIGNATURE.length;
  while (at < bytes.length) {
    const length = at + 8 <= bytes.length ? bytes.readUInt32BE(at) : Number.POSITIVE_INFINITY;
    const end = at + 8 + length;
    if (end + 4 > bytes.length) throw new InvalidFileError(name, 'a PNG chunk runs past the end of the file');
    const type = bytes.toString('latin1', at + 4, at + 8);
    const [data, checked] = [bytes.subarray(at + 8, end), bytes.subarray(at + 4, end)];
    yield { type, data, checked, sum: bytes.readUInt32BE(end) };
    if (type === 'IEND') return;
    at = end + 4;
  }
}

/**
 * The texts of a PNG: its `tEXt` and uncompressed `iTXt` chunks. Compressed ones are passed over.
 *
 * @param name the file, for the error
 * @throws InvalidFileError when a chunk runs past the end of the file, or the texts are longer than 1 MiB
 */
export function readText(png: Uint8Array, name: string): PngText {
  const text: Record<string, string> = Object.create(null);
  let left = readingBudget.configBytes;
  for (const { type, data } of chunksOf(png, name)) {
    if (type !== 'tEXt' && type !== 'iTXt') continue;
    left -= data.length;
    if (left < 0) throw new InvalidFileError(name, `its texts have more than ${readingBudget.configBytes} bytes`);
    const split = data.indexOf(0);
    const keyword = data.toString('latin1', 0, Math.max(split, 0));
    if (type === 'tEXt' && split > 0) text[keyword] = data.toString('latin1', split + 1);
    if (type === 'iTXt' && split > 0 && data[split + 1] === 0) {
      const language = data.indexOf(0, split + 3);
      const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
      if (translated >= 0) text[keyword] = data.toString('utf8', translated + 1);
    }
  }
  return { ...text };
}

function textChunk(keyword: string, value: string): Buffer {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: Latin-1 is the set of these characters
  const latin1 = /^[\x00-\xff]*$/.test(value);
  const type = latin1 ? 'tEXt' : 'iTXt';
  const head = latin1 ? `${keyword}\0` : `${keyword}\0\0\0\0\0`; // no compression, no language, no translated keyword
  const body = Buffer.concat([Buffer.from(type + head, 'latin1'), Buffer.from(value, latin1 ? 'latin1' : 'utf8')]);
  const chunk = Buffer.alloc(body.length + 8);
  chunk.writeUInt32BE(body.length - 4, 0);
  body.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(body), body.length + 4);
  return chunk;
}
