import { crc32 } from 'node:zlib';

/** What a PNG's header says, and its chunks between header and data. */
export interface PngFile {
  readonly width: number;
  readonly height: number;
  /** Default 8. */
  readonly depth?: number;
  /** Colour type; default 0, gray. */
  readonly type?: number;
  readonly interlace?: number;
  /** Bytes of IDAT, whatever they are. */
  readonly data: Uint8Array;
  readonly more?: readonly (readonly [string, Uint8Array])[];
}

/** The bytes of a PNG with right checksums, and any header and data. */
export function pngFile({ width, height, depth = 8, type = 0, interlace = 0, data, more = [] }: PngFile): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, type, 0, 0, interlace], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const chunks = [['IHDR', header], ...more, ['IDAT', data], ['IEND', Buffer.alloc(0)]] as const;
  return Buffer.concat([signature, ...chunks.map(([name, body]) => chunk(name, body))]);
}

function chunk(name: string, body: Uint8Array): Buffer {
  const checked = Buffer.concat([Buffer.from(name), body]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length);
  sum.writeUInt32BE(crc32(checked));
  return Buffer.concat([length, checked, sum]);
}
