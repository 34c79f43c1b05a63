import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidArgumentError, MezzotintError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { type Bitmap, decodeImage, encodePng, readImage, readPngText, writePng } from '../src/index.js';
import { temporaryFolder } from './temporary-folder.js';

const gray: Bitmap = { data: Uint8Array.from({ length: 35 }, (_, i) => 7 * i), height: 5, width: 7, channels: 1 };
const rgb: Bitmap = { data: Uint8Array.from({ length: 36 }, (_, i) => 255 - 7 * i), height: 3, width: 4, channels: 3 };
const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error as MezzotintError,
  );

describe('PNG', () => {
  test.each([gray, rgb])('comes back as it was: $channels channels', async (picture) => {
    expect(await decodeImage(encodePng(picture), 'memory')).toEqual(picture);
  });

  test('keeps its texts, Latin-1 or not, and is an 8-bit PNG', async () => {
    const folder = await temporaryFolder();
    const text = { recipe: '{"seed":1}', Author: 'Bär', prompt: 'a bear — 熊', empty: '' };
    await writePng(join(folder, 'a.png'), rgb, { text });
    expect(await readPngText(join(folder, 'a.png'))).toEqual(text);
    expect(await readImage(join(folder, 'a.png'))).toEqual(rgb);
    const bytes = await readFile(join(folder, 'a.png'));
    expect([bytes[24], bytes[25]]).toEqual([8, 2]); // bit depth, colour type RGB
  });

  test('the same picture and text give the same bytes, also those of last year', () => {
    const once = encodePng(gray, { text: { recipe: 'x' } });
    expect(encodePng({ ...gray, data: gray.data.slice() }, { text: { recipe: 'x' } })).toEqual(once);
    expect(Buffer.from(once).toString('base64')).toBe(
      'iVBORw0KGgoAAAANSUhEUgAAAAcAAAAFCAAAAACs8akEAAAAMUlEQVR42mNgYOcTlVHWYjC0sHfzDYlmSMosKK9r7WGYPGvhivXb9jIcOX3p5oPn7wDWiBBG4prifAAAAAh0RVh0cmVjaXBlAHiqTlASAAAAAElFTkSuQmCC',
    );
  });

  test('never replaces a file unasked, and leaves no temporary file', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'a.png');
    await writePng(path, gray);
    const before = await readFile(path);
    const error = await rejection(writePng(path, rgb));
    expect(InvalidArgumentError.isInstance(error)).toBe(true);
    expect(error?.message).toContain(path);
    expect(await readFile(path)).toEqual(before);
    await writePng(path, rgb, { overwrite: true });
    expect(await readImage(path)).toEqual(rgb);
    expect(await readdir(folder)).toEqual(['a.png']);
  });

  test('a write that fails says why and leaves nothing', async () => {
    const folder = await temporaryFolder();
    const missing = await rejection(writePng(join(folder, 'no', 'a.png'), gray));
    expect(missing?.message).toMatch(/a\.png: the folder does not exist, create it first; nothing was changed\.$/);
    await mkdir(join(folder, 'taken.png'));
    const taken = await rejection(writePng(join(folder, 'taken.png'), gray, { overwrite: true }));
    expect(taken?.message).toMatch(/is a folder; expected the name of a file to write$/);
    expect(await readdir(folder)).toEqual(['taken.png']);
    await writeFile(join(folder, 'file'), '');
    const inFile = await rejection(writePng(join(folder, 'file', 'a.png'), gray));
    expect(inFile?.message).toMatch(/its folder is not a folder; nothing was changed\.$/);
    expect(MezzotintError.isInstance(inFile)).toBe(true);
  });

  test('names what is wrong with a picture or a text', () => {
    expect(() => encodePng({ ...gray, width: 8 })).toThrow(
      'encodePng: expected 5 x 8 x 1 = 40 bytes of pixels, got 35',
    );
    expect(() => encodePng({ ...gray, height: 0, channels: 2 as 1 })).toThrow(/height.*got 0\n.*got 2/);
    expect(() => encodePng(gray, { text: { '': 'x', ä: 'a\0b', ' x': '' } })).toThrow(
      /got ""\n.*without NUL for "ä"\n.*got " x"/,
    );
  });

  test('reading texts of damaged files fails with their name', async () => {
    const folder = await temporaryFolder();
    const bytes = encodePng(gray, { text: { recipe: 'something long enough' } });
    await writeFile(join(folder, 'cut.png'), bytes.subarray(0, bytes.length - 20));
    await writeFile(join(folder, 'not.png'), 'hello');
    const lying = Buffer.from(bytes);
    lying.writeUInt32BE(0xffffffff, 8);
    await writeFile(join(folder, 'lying.png'), lying);
    expect((await rejection(readPngText(join(folder, 'cut.png'))))?.message).toMatch(
      /cut\.png: a PNG chunk runs past the end/,
    );
    expect((await rejection(readPngText(join(folder, 'lying.png'))))?.message).toMatch(
      /lying\.png: a PNG chunk runs past the end/,
    );
    expect((await rejection(readPngText(join(folder, 'not.png'))))?.message).toMatch(/not\.png: not a PNG image/);
    expect((await rejection(readPngText(join(folder, 'no.png'))))?.message).toMatch(/no\.png: no such file/);
  });
});
