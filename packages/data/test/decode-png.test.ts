import { deflateSync } from 'node:zlib';
import { InvalidFileError } from '@mezzotint/core';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { decodeImage } from '../src/index.js';
import { type PngFile, pngFile } from './png-file.js';

/** Numbers that look random and are the same everywhere. */
function bytes(count: number, seed: number): Uint8Array {
  let s = seed;
  return Uint8Array.from({ length: count }, () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s >>> 24;
  });
}

/** A PNG of 1 gray sample a pixel, 3 x 2 unless told otherwise. */
const png = (file: Partial<PngFile>) => pngFile({ width: 3, height: 2, data: rows(3, 2), ...file });

/** Rows without filter. */
function rows(bytesInRow: number, height: number, value = 7): Uint8Array {
  const raw = Buffer.alloc((bytesInRow + 1) * height, value);
  for (let y = 0; y < height; y++) raw[y * (bytesInRow + 1)] = 0;
  return deflateSync(raw);
}

const problem = (promise: Promise<unknown>) =>
  promise.then(
    () => 'was read',
    (error: unknown) => {
      expect(InvalidFileError.isInstance(error), String(error)).toBe(true);
      return (error as Error).message;
    },
  );

describe('PNG, decoded without a native library', () => {
  // libvips (libspng) is another decoder: filters, Adam7, palettes and both depths are the same to the byte.
  const kinds = [1, 2, 3, 4].flatMap((channels) =>
    [false, true].flatMap((progressive) =>
      ([8, 16] as const).map(
        (depth) =>
          [
            `${channels} samples of ${depth} bits${progressive ? ', Adam7' : ''}`,
            channels,
            progressive,
            depth,
          ] as const,
      ),
    ),
  );
  test.each(kinds)('%s: as libvips', async (_, channels, progressive, depth) => {
    for (const [width, height] of [
      [1, 1],
      [5, 3],
      [13, 17],
      [64, 9],
    ] as const) {
      const raw = bytes(width * height * channels, width);
      const made = sharp(raw, { raw: { width, height, channels: channels as 1 | 2 | 3 | 4 } });
      const space = channels < 3 ? (depth === 16 ? 'grey16' : 'b-w') : depth === 16 ? 'rgb16' : 'srgb';
      const file = await made.toColourspace(space).png({ progressive, adaptiveFiltering: true }).toBuffer();
      expect([file[24], file[28]]).toEqual([depth, progressive ? 1 : 0]);
      const expected = await sharp(file)
        .removeAlpha()
        .toColourspace(channels < 3 ? 'b-w' : 'srgb')
        .raw({ depth: 'uchar' })
        .toBuffer();
      const got = await decodeImage(file, 'x.png', { transparency: 'ignored' });
      expect([got.height, got.width, got.channels]).toEqual([height, width, channels < 3 ? 1 : 3]);
      expect(Buffer.from(got.data).equals(expected)).toBe(true);
      if (depth === 16 || channels % 2 === 1) continue; // libvips rounds 16 bits on white once more
      const white = await sharp(file)
        .flatten({ background: '#fff' })
        .toColourspace(channels < 3 ? 'b-w' : 'srgb')
        .raw()
        .toBuffer();
      expect(Buffer.from((await decodeImage(file, 'x.png')).data).equals(white)).toBe(true);
    }
  });

  test.each([2, 4, 16, 256])('a palette of %i colours, with Adam7 too: as libvips', async (colours) => {
    for (const progressive of [false, true]) {
      const raw = { width: 19, height: 11, channels: 3 } as const;
      const file = await sharp(bytes(19 * 11 * 3, colours), { raw })
        .png({ palette: true, colours, progressive })
        .toBuffer();
      expect(file[25]).toBe(3);
      const expected = await sharp(file).toColourspace('srgb').raw().toBuffer();
      expect(Buffer.from((await decodeImage(file, 'x.png')).data).equals(expected)).toBe(true);
    }
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('EXIF orientation %i: as libvips', async (orientation) => {
    const file = await sharp(bytes(5 * 3 * 3, 1), { raw: { width: 5, height: 3, channels: 3 } })
      .withMetadata({ orientation })
      .png()
      .toBuffer();
    const { data, info } = await sharp(file, { autoOrient: true }).raw().toBuffer({ resolveWithObject: true });
    const got = await decodeImage(file, 'x.png');
    expect([got.width, got.height]).toEqual([info.width, info.height]);
    expect(Buffer.from(got.data).equals(data)).toBe(true);
  });

  test('1, 2 and 4 bits of gray become 0 to 255, and one gray may be transparent', async () => {
    const sample = deflateSync(Uint8Array.of(0, 0b00011011, 0, 0b11100100)); // two rows of four pixels of 2 bits
    const file = png({ width: 4, depth: 2, data: sample });
    expect([...(await decodeImage(file, 'x')).data]).toEqual([0, 85, 170, 255, 255, 170, 85, 0]);
    const clear = png({ width: 4, depth: 2, data: sample, more: [['tRNS', Uint8Array.of(0, 1)]] });
    expect([...(await decodeImage(clear, 'x')).data]).toEqual([0, 255, 170, 255, 255, 170, 255, 0]);
    expect([...(await decodeImage(clear, 'x', { transparency: 'ignored' })).data][1]).toBe(85);
  });

  test('what no PNG says is refused by name', async () => {
    for (const [file, message] of [
      [png({ width: 0 }), 'the header says 2 x 0 pixels'],
      [png({ depth: 3 }), 'no PNG has colour type 0 with 3 bits'],
      [png({ type: 5 }), 'no PNG has colour type 5 with 8 bits'],
      [png({ interlace: 2 }), 'unknown compression 0, filter 0 or interlace 2'],
      [png({ type: 3 }), 'a palette of 0 bytes'],
      [png({ type: 3, more: [['PLTE', new Uint8Array(6)]] }), 'a pixel has colour 7 of 2'],
      [png({ data: rows(3, 1) }), 'its data end after 4 of 8 bytes'],
      [png({ data: Buffer.from('no zlib') }), 'incorrect header check'],
      [png({ data: deflateSync(new Uint8Array(8).fill(9)) }), 'unknown filter 9'],
      [png({ data: deflateSync(new Uint8Array(1e6)) }), 'its data unpack to more than the 8 bytes of its pixels'],
      [png({ more: [['CgBI', new Uint8Array(4)]] }), 'unknown chunk CgBI'],
      [png({}).subarray(0, 33), 'it has no pixels'],
    ] as const) {
      expect(await problem(decodeImage(file, 'x.png'))).toBe(`x.png: damaged image: ${message}`);
    }
    // Some writers leave bytes behind the pixels; libpng and Pillow pass over them.
    expect((await decodeImage(png({ data: rows(3, 9) }), 'x.png')).data).toEqual(new Uint8Array(6).fill(7));
  });
});
