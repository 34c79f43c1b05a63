import { execFileSync } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { InvalidFileError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import {
  decodeImage,
  encodePng,
  fingerprint,
  imageFolder,
  pictureFiles,
  readImage,
  readPngText,
  resize,
  resizeWindow,
  writePng,
} from '../src/index.js';
import fixture from './fixtures/image-kinds.json' with { type: 'json' };
import { pngFile } from './png-file.js';
import { temporaryFolder } from './temporary-folder.js';

type Name = keyof typeof fixture.files;
const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));
const names = Object.keys(fixture.files) as Name[];
const problem = (promise: Promise<unknown>) =>
  promise.then(
    () => 'was read',
    (error: unknown) => {
      expect(InvalidFileError.isInstance(error), String(error)).toBe(true);
      return (error as Error).message;
    },
  );

/** A PNG of one value with any size in its header: width x height pixels of `depth` bits, all 0. */
function flatPng(width: number, height: number, depth: 1 | 8): Uint8Array {
  const rows = Buffer.alloc((Math.ceil((width * depth) / 8) + 1) * height);
  return pngFile({ width, height, depth, data: deflateSync(rows, { level: 9 }) });
}

describe('files of other kinds', () => {
  // PNG and lossless WebP have no freedom; JPEG and lossy WebP are decoded by the libraries that Pillow uses too.
  test.each(names)('%s: colours below transparency, and a mask from it, equal Pillow', async (name) => {
    const { size, rgb, mask } = fixture.decoded[name];
    const options = { transparency: 'ignored' } as const;
    const image = await decodeImage(bytesOf(fixture.files[name]), name, { ...options, channels: 3 });
    expect([image.width, image.height]).toEqual(size);
    expect(image.data).toEqual(bytesOf(rgb));
    const gray = await decodeImage(bytesOf(fixture.files[name]), name, { ...options, channels: 1 });
    expect(gray.data).toEqual(bytesOf(mask));
  });

  test('a wrong checksum anywhere in a PNG is refused, with the chunk', async () => {
    const bytes = encodePng({ data: new Uint8Array(12), height: 2, width: 2, channels: 3 }, { text: { a: 'b' } });
    for (const type of ['IHDR', 'IDAT', 'tEXt', 'IEND']) {
      const broken = Uint8Array.from(bytes);
      const at = Buffer.from(bytes).indexOf(type);
      const length = Buffer.from(bytes).readUInt32BE(at - 4);
      broken[at + 4 + length]! ^= 1;
      expect(await problem(decodeImage(broken, 'x.png'))).toBe(
        `x.png: damaged image: the checksum of its ${type} chunk is wrong`,
      );
    }
  });

  test.skipIf(process.platform === 'win32')('special files are refused before they are opened', async () => {
    const folder = await temporaryFolder();
    execFileSync('mkfifo', [join(folder, 'fifo.png')]);
    await symlink('/dev/zero', join(folder, 'endless.png'));
    for (const read of [readImage, readPngText]) {
      expect(await problem(read(join(folder, 'fifo.png')))).toMatch(/fifo\.png: is a FIFO/);
      expect(await problem(read(join(folder, 'endless.png')))).toMatch(/endless\.png: is a device/);
    }
    await mkdir(join(folder, 'set', 'a'), { recursive: true });
    await symlink('/dev/zero', join(folder, 'set', 'a', 'x.png'));
    await symlink('nowhere', join(folder, 'set', 'a', 'y.png'));
    const message = await problem(imageFolder(join(folder, 'set'), { size: 4, channels: 1 }));
    expect(message).toMatch(/2 of its files cannot be used:\n.*x\.png: is a device.*\n.*y\.png: no such file/);
  });

  test('a picture is never written over what is no plain file, and through a link', async () => {
    const folder = await temporaryFolder();
    const picture = { data: new Uint8Array(1), height: 1, width: 1, channels: 1 as const };
    const replace = (path: string) => writePng(path, picture, { overwrite: true });
    await expect(replace(folder)).rejects.toThrow(/is a folder/);
    await symlink('real.png', join(folder, 'link.png'));
    await replace(join(folder, 'link.png'));
    expect((await readImage(join(folder, 'real.png'))).data).toEqual(new Uint8Array(1));
    expect(execFileSync('ls', ['-A', folder], { encoding: 'utf8' })).toBe('link.png\nreal.png\n');
    if (process.platform === 'win32') return;
    execFileSync('mkfifo', [join(folder, 'fifo')]);
    await expect(replace(join(folder, 'fifo'))).rejects.toThrow(/is a FIFO.*expected the name of a file/);
    await symlink('loop', join(folder, 'loop'));
    await expect(replace(join(folder, 'loop'))).rejects.toThrow(/link that leads back to itself/);
    await expect(replace(join(folder, 'x'.repeat(300)))).rejects.toThrow(/the name is too long/);
    await replace(join(folder, `${'x'.repeat(251)}.png`)); // the longest name that there is
  });
});

describe('pictures whose shape is the attack', () => {
  test('a window of a resized picture equals that part of the whole, in every filter', () => {
    let s = 3;
    const data = Uint8Array.from({ length: 31 * 23 * 3 }, () => {
      s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
      return s >>> 24;
    });
    const image = { data, height: 31, width: 23, channels: 3 as const };
    for (const filter of ['box', 'bilinear', 'bicubic', 'lanczos'] as const) {
      for (const size of [
        { height: 9, width: 50 },
        { height: 31, width: 12 },
        { height: 70, width: 23 },
      ]) {
        const whole = resize(image, size, filter);
        const window = { top: 4, left: 5, height: 5, width: 7 };
        const expected = Array.from({ length: 5 }, (_, y) => {
          const from = ((y + 4) * size.width + 5) * 3;
          return [...whole.data.subarray(from, from + 21)];
        }).flat();
        expect([...resizeWindow(image, size, window, filter).data]).toEqual(expected);
      }
    }
    const outside = { top: 0, left: 20, height: 1, width: 7 };
    expect(() => resizeWindow(image, { height: 9, width: 26 }, outside)).toThrow(/1 x 7 at row 0, column 20/);
  });

  // Made whole, the first would be 64 x 3,840,000 pixels and the second 512 x 8,192,000.
  test.each([
    ['a strip', 1, 60_000, 64],
    ['a thin one', 16_000, 1, 512],
    ['a million in a row', 1, 1_000_000, 16],
  ])('%s costs no more than its middle', async (_, width, height, size) => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'a'));
    await writeFile(join(folder, 'a', 'x.png'), flatPng(width, height, 8));
    const before = process.memoryUsage().rss;
    const set = await imageFolder(folder, { size, channels: 3 });
    expect([set.count, set.images.every((byte) => byte === 0)]).toEqual([1, true]);
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
  });

  test('large pictures in small files wait for each other', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'a'));
    for (let i = 0; i < 6; i++) await writeFile(join(folder, 'a', `${i}.png`), flatPng(4096, 4096, 1));
    const before = process.memoryUsage().rss;
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss - before);
    }, 5);
    const set = await imageFolder(folder, { size: 8, channels: 3 });
    clearInterval(watch);
    expect(set.count).toBe(6);
    // 16 M pixels are 17 MB gray and 50 MB as RGB; two are in the budget of 256 MiB at 8 bytes a pixel.
    expect(most).toBeLessThan(350e6);
  });

  test('a side beyond the budget is refused from the header', async () => {
    expect(await problem(decodeImage(flatPng(2 ** 22 + 1, 1, 1), 'long.png'))).toMatch(
      /sides of at most 4194304 pixels/,
    );
  });
});

describe('what is in a folder of images', () => {
  const png = (value: number) => encodePng({ data: new Uint8Array(16).fill(value), height: 4, width: 4, channels: 1 });
  const read = (path: string) => imageFolder(path, { size: 4, channels: 1 });

  test('linked classes, nested pictures and WebP are in the set; the rest is counted by its ending', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'set', 'a', 'deep', 'er'), { recursive: true });
    await mkdir(join(folder, 'elsewhere'));
    await symlink('../elsewhere', join(folder, 'set', 'b'));
    await writeFile(join(folder, 'elsewhere', 'x.png'), png(30));
    await writeFile(join(folder, 'set', 'a', 'z.png'), png(20));
    await writeFile(join(folder, 'set', 'a', 'deep', 'er', 'y.PNG'), png(10));
    await writeFile(join(folder, 'set', 'a', 'w.webp'), bytesOf(fixture.files.webp_lossy));
    for (const name of ['1.bmp', '2.BMP', '3.tif', 'notes', '.hidden.bmp', 'constructor.__proto__']) {
      await writeFile(join(folder, 'set', 'a', name), 'x');
    }
    await writeFile(join(folder, 'set', 'list.txt'), 'x');
    const set = await read(join(folder, 'set'));
    expect(set.classes).toEqual(['a', 'b']);
    expect([...set.labels]).toEqual([0, 0, 0, 1]);
    expect([set.images[0], set.images[32], set.images[48]]).toEqual([10, 20, 30]); // a/deep/er/y, a/w, a/z, b/x
    expect({ ...set.passedOver }).toEqual({ '.bmp': 2, '.tif': 1, '': 1, '.__proto__': 1, '.txt': 1 });
  });

  test('a link back to a folder above is refused by name', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'set', 'a', 'b'), { recursive: true });
    await writeFile(join(folder, 'set', 'a', 'x.png'), png(1));
    await symlink('../../../set', join(folder, 'set', 'a', 'b', 'again'));
    expect(await problem(read(join(folder, 'set')))).toMatch(/again: is a link that leads back to a folder above it/);
  });

  test('pictureFiles: the same folders, links and kinds, in one order; other files are told', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'set', 'b'), { recursive: true });
    await mkdir(join(folder, 'elsewhere'));
    await symlink('../elsewhere', join(folder, 'set', 'a'));
    for (const name of [
      'elsewhere/2.WEBP',
      'set/b/1.jpg',
      'set/z.png',
      'set/b/x.bmp',
      'set/y.txt',
      'set/.hidden.png',
    ]) {
      await writeFile(join(folder, name), 'x');
    }
    let told: unknown;
    const files = pictureFiles(join(folder, 'set'), (endings) => {
      told = endings;
    });
    expect(files).toEqual(['a/2.WEBP', 'b/1.jpg', 'z.png']);
    expect(told).toEqual({ '.bmp': 1, '.txt': 1 });
    await symlink('..', join(folder, 'set', 'b', 'again'));
    expect(() => pictureFiles(join(folder, 'set'))).toThrow(/again: is a link that leads back to a folder above it/);
    expect(() => pictureFiles(join(folder, 'elsewhere', 'none'))).toThrow(/no such folder/);
    await mkdir(join(folder, 'c'));
    await writeFile(join(folder, 'c', 'x.bmp'), 'x');
    expect(() => pictureFiles(join(folder, 'c'))).toThrow(
      /expected .png, .jpg, .jpeg, .webp files, got none; passed over: 1 .bmp/,
    );
  });

  test('a class of nothing but other kinds says what is there', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'a'));
    for (const name of ['1.bmp', '2.bmp', '3.gif']) await writeFile(join(folder, 'a', name), 'x');
    await expect(read(folder)).rejects.toThrow(/no \.png.* file in: a; passed over: 2 \.bmp, 1 \.gif/);
  });

  test('the fingerprint is of pixels, labels and names in order', async () => {
    const folder = await temporaryFolder();
    for (const [name, value] of [
      ['a', 1],
      ['b', 2],
    ] as const) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, 'x.png'), png(value));
    }
    const set = await read(folder);
    expect(fingerprint(set)).toBe(fingerprint(await read(folder)));
    const others = [
      { ...set, classes: ['b', 'a'] },
      { ...set, labels: Int32Array.of(1, 0) },
      { ...set, images: Uint8Array.from(set.images, (byte, i) => (i === 5 ? byte + 1 : byte)) },
      { ...set, height: 8, width: 2 },
    ];
    expect(new Set([set, ...others].map(fingerprint)).size).toBe(5);
  });
});
