import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { InvalidFileError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { type Bitmap, decodeImage, encodePng, imageFolder, readImage, resize } from '../src/index.js';
import fixture from './fixtures/image-files.json' with { type: 'json' };
import pillow from './fixtures/pillow.json' with { type: 'json' };
import { pngFile } from './png-file.js';
import { temporaryFolder } from './temporary-folder.js';

type FileName = keyof typeof fixture.files;
const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));
const file = (name: FileName) => bytesOf(fixture.files[name]);
const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error as Error,
  );

describe('decodeImage', () => {
  const exact = Object.keys(fixture.decoded) as (keyof typeof fixture.decoded)[];
  // PNG is lossless, and both decode JPEG with libjpeg-turbo's integer transform, so every byte is the same.
  test.each(exact)('equals Pillow on %s', async (name) => {
    const golden = fixture.decoded[name];
    const image = await decodeImage(file(name), name);
    expect([image.height, image.width, image.channels]).toEqual([
      golden.shape[0],
      golden.shape[1],
      golden.shape[2] ?? 1,
    ]);
    expect(image.data).toEqual(bytesOf(golden.bytes));
  });

  test('lays transparent parts on white', async () => {
    const { data } = await decodeImage(file('rgba_png'), 'rgba');
    expect([...data.subarray(0, 9)]).toEqual([255, 0, 0, 255, 255, 255, 255, 255, 255]);
    expect([...data.subarray(9)]).toEqual([127, 127, 255]); // half blue
  });

  test('turns colour to gray as Pillow does, and gray to colour by repeating', async () => {
    const height = pillow.height;
    const width = pillow.width;
    let s = 1;
    const data = Uint8Array.from({ length: height * width * 3 }, () => {
      s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
      return s >>> 24;
    });
    const gray = await decodeImage(encodePng({ data, height, width, channels: 3 }), 'rgb', { channels: 1 });
    expect(gray.data).toEqual(bytesOf(pillow.gray));
    const repeated = await decodeImage(encodePng(gray), 'gray', { channels: 3 });
    expect(repeated.data).toEqual(
      Uint8Array.from({ length: gray.data.length * 3 }, (_, i) => gray.data[Math.floor(i / 3)]!),
    );
  });

  test('refuses what is not an image, by its first bytes', async () => {
    for (const [bytes, problem] of [
      [new Uint8Array(0), 'x: the file is empty'],
      [Buffer.from('hello'), 'x: not a PNG, JPEG or WebP image'],
      [
        Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
        'x: not a PNG, JPEG or WebP image',
      ],
      [file('gif'), 'x: not a PNG, JPEG or WebP image'],
    ] as const) {
      const error = await rejection(decodeImage(bytes, 'x'));
      expect(error).toBeInstanceOf(InvalidFileError);
      expect(error?.message).toBe(problem);
    }
  });

  test.each(['rgb_png', 'jpeg', 'jpeg_progressive'] as const)(
    'refuses %s cut short at every tenth byte',
    async (name) => {
      const bytes = file(name);
      for (let end = 8; end < bytes.length - 14; end += 10) {
        expect(await rejection(decodeImage(bytes.subarray(0, end), name))).toBeInstanceOf(InvalidFileError);
      }
    },
  );

  test('refuses a pixel bomb from its header alone', async () => {
    // 60,000 x 60,000 white pixels: 3.6 GB of gray in a file of a few hundred bytes
    const bomb = pngFile({ width: 60_000, height: 60_000, data: deflateSync(Buffer.alloc(100_000)) });
    const start = performance.now();
    const error = await rejection(decodeImage(bomb, 'bomb.png'));
    expect(error?.message).toBe('bomb.png: expected at most 67108864 pixels, the header says 60000 x 60000');
    expect(performance.now() - start).toBeLessThan(1000);
    expect((await rejection(decodeImage(file('rgb_png'), 'small', { maxPixels: 47 })))?.message).toContain(
      'at most 47 pixels',
    );
  });

  test('a PNG whose data inflate far beyond its size is not inflated whole', async () => {
    const bomb = pngFile({ width: 8, height: 8, data: deflateSync(Buffer.alloc(200_000_000)) });
    const before = process.memoryUsage().rss;
    await rejection(decodeImage(bomb, 'bomb.png')); // whether the decoder takes the first 72 bytes or refuses is its affair
    expect(process.memoryUsage().rss - before).toBeLessThan(150_000_000);
  });
});

describe('imageFolder', () => {
  const png = (height: number, width: number, value = 0): Uint8Array => encodePng(ramp(height, width, value));
  const ramp = (height: number, width: number, value: number): Bitmap => ({
    data: Uint8Array.from({ length: height * width }, (_, i) => (value + (i % width) * 5) % 256),
    height,
    width,
    channels: 1,
  });

  test('labels by folder, sorted by code units; other files are passed over', async () => {
    const folder = await temporaryFolder();
    for (const name of ['b', 'a', 'B', 'a10', '.hidden']) await mkdir(join(folder, name));
    await writeFile(join(folder, 'readme.txt'), 'no class');
    await writeFile(join(folder, 'a', 'notes.txt'), 'no image');
    await writeFile(join(folder, 'a', '.broken.png'), 'hidden');
    const places: readonly [string, number][] = [
      ['a/2.png', 20],
      ['a/10.PNG', 10],
      ['b/x.png', 30],
      ['B/y.png', 40],
      ['a10/z.png', 50],
    ];
    for (const [name, value] of places) await writeFile(join(folder, name), png(4, 4, value));
    const progress: number[] = [];
    const set = await imageFolder(folder, {
      size: 4,
      channels: 1,
      onProgress: (done, total) => progress.push(done, total),
    });
    expect(set.classes).toEqual(['B', 'a', 'a10', 'b']);
    expect([...set.labels]).toEqual([0, 1, 1, 2, 3]);
    expect([0, 1, 2, 3, 4].map((i) => set.images[i * 16])).toEqual([40, 10, 20, 50, 30]);
    expect(progress).toEqual([1, 5, 2, 5, 3, 5, 4, 5, 5, 5]);
  });

  test('classes that are numbers are sorted by number; pictures beside the folders are passed over', async () => {
    const folder = await temporaryFolder();
    for (const name of ['10', '9', '0']) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, 'x.png'), png(4, 4, Number(name)));
    }
    await writeFile(join(folder, 'cover.png'), png(4, 4));
    const set = await imageFolder(folder, { size: 4, channels: 1 });
    expect(set.classes).toEqual(['0', '9', '10']);
    expect([0, 1, 2].map((i) => set.images[i * 16])).toEqual([0, 9, 10]);
    expect(set.passedOver).toEqual({ '.png': 1 });
  });

  test('classes of metadata.jsonl and of shards, as openDataset reads them', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, '1.png'), png(4, 4, 10));
    await writeFile(join(folder, '2.png'), png(4, 4, 20));
    const rows = ['{"file_name": "1.png", "label": "night"}', '{"file_name": "2.png", "label": "day"}'];
    await writeFile(join(folder, 'metadata.jsonl'), rows.join('\n'));
    const set = await imageFolder(folder, { size: 4, channels: 1 });
    expect([set.classes, [...set.labels], set.images[0]]).toEqual([['day', 'night'], [0, 1], 20]);
  });

  test('resizes the shorter side with antialiasing and cuts out the middle', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'one'));
    const wide = ramp(20, 50, 0);
    await writeFile(join(folder, 'one', 'wide.png'), encodePng(wide));
    const set = await imageFolder(folder, { size: 8, channels: 3, filter: 'bilinear' });
    const scaled = resize(wide, { height: 8, width: 20 }, 'bilinear');
    const expected = Array.from({ length: 64 }, (_, i) => scaled.data[Math.floor(i / 8) * 20 + 6 + (i % 8)]!);
    expect([...set.images].filter((_, i) => i % 3 === 0)).toEqual(expected);
    expect(set).toMatchObject({ count: 1, height: 8, width: 8, channels: 3 });
  });

  test('names every bad file at once', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'a'));
    await writeFile(join(folder, 'a', 'good.png'), png(4, 4));
    await writeFile(join(folder, 'a', 'text.png'), 'hello');
    await writeFile(join(folder, 'a', 'cut.jpg'), file('jpeg').subarray(0, 300));
    await writeFile(join(folder, 'a', 'empty.jpeg'), '');
    await mkdir(join(folder, 'a', 'folder.png'));
    const error = await rejection(imageFolder(folder, { size: 4, channels: 1 }));
    expect(error).toBeInstanceOf(InvalidFileError);
    const lines = error?.message.split('\n') ?? [];
    expect(lines[0]).toBe(`${folder}: 3 of its files cannot be used:`);
    expect(lines[1]).toContain('cut.jpg: damaged image');
    expect(lines[2]).toContain('empty.jpeg: the file is empty');
    expect(lines[3]).toContain('text.png: not a PNG, JPEG or WebP image');
  });

  test('says what is wrong with the folder or the options', async () => {
    const folder = await temporaryFolder();
    const read = (path: string, options = {}) => rejection(imageFolder(path, { size: 4, channels: 1, ...options }));
    expect((await read(join(folder, 'no')))?.message).toMatch(/no: no such folder/);
    expect((await read(folder))?.message).toMatch(/one folder of images for each class, got no folder inside/);
    await mkdir(join(folder, 'a'));
    expect((await read(folder))?.message).toMatch(/no \.png, \.jpg, \.jpeg, \.webp file in: a/);
    await writeFile(join(folder, 'a', 'x.png'), png(4, 4));
    expect((await read(folder, { maxBytes: 15 }))?.message).toMatch(
      /1 images of 4 x 4 x 1 take 16 bytes, more than maxBytes = 15/,
    );
    expect((await read(folder, { size: 0, channels: 2 }))?.message).toMatch(/size.*got 0\n.*channels.*got 2/);
    expect((await rejection(readImage(folder)))?.message).toMatch(/is a folder/);
  });
});
