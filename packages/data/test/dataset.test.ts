import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';
import { afterAll, describe, expect, test } from 'vitest';
import {
  type Dataset,
  type ExampleStreamOptions,
  encodePng,
  exampleStream,
  openDataset,
  readExamples,
  readTar,
  splitDataset,
  withoutDamaged,
} from '../src/index.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-dataset-'));
afterAll(() => rmSync(root, { recursive: true }));

/** A picture whose left half is `left` and whose right half is `right`, gray. */
function picture(height: number, width: number, left: number, right = left): Uint8Array {
  const data = Uint8Array.from({ length: height * width }, (_, i) => (i % width < width / 2 ? left : right));
  return encodePng({ data, height, width, channels: 1 });
}

function write(folder: string, files: Record<string, Uint8Array | string>): string {
  const path = join(root, folder);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path, name, '..'), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  return path;
}

/** A tar archive of files, in the ustar format. */
function tar(files: Record<string, Uint8Array | string>): Uint8Array {
  const blocks = Object.entries(files).flatMap(([name, content]) => {
    const bytes = Buffer.from(content);
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write(`${bytes.length.toString(8).padStart(11, '0')} `, 124);
    header.write('0', 156);
    header.write('ustar\0', 257);
    header.fill(' ', 148, 156);
    const sum = header.reduce((a, b) => a + b, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

describe('openDataset', () => {
  test('takes folders as classes, and says what it passed over and why', async () => {
    const path = write('classes', {
      'cats/b.png': picture(4, 6, 10),
      'cats/deep/a.png': picture(4, 4, 20),
      'dogs/c.png': picture(8, 4, 30),
      'dogs/notes.docx': 'x',
      'dogs/broken.png': 'not a picture',
      '.hidden.png': picture(4, 4, 0),
    });
    const set = await openDataset(path);
    expect(set.classes).toEqual(['cats', 'dogs']);
    expect(set.examples.map(({ name, label, height, width }) => [name, label, height, width])).toEqual([
      ['cats/b.png', 0, 4, 6],
      ['cats/deep/a.png', 0, 4, 4],
      ['dogs/c.png', 1, 8, 4],
    ]);
    expect(set.captioned).toBe(0);
    expect(set.skipped).toEqual([
      '1 .docx that are no pictures: dogs/notes.docx',
      '1 damaged pictures: dogs/broken.png',
    ]);
    const plain = await openDataset(path, { folderClasses: 'never' });
    expect([plain.classes, plain.examples.map(({ label }) => label)]).toEqual([[], [0, 0, 0]]);
    expect(plain.fingerprint).not.toBe(set.fingerprint);
  });

  test('passes over pictures beside the folders of classes, and folders without any, by name', async () => {
    const inside = Object.fromEntries(
      ['cats', 'dogs'].flatMap((name) => [0, 1].map((i) => [`${name}/${i}.png`, picture(4, 4, i)] as const)),
    );
    const path = write('stray', { ...inside, 'overview.png': picture(4, 4, 9) });
    mkdirSync(join(path, 'birds'));
    const set = await openDataset(path);
    expect([set.classes, set.examples.map(({ label }) => label)]).toEqual([
      ['cats', 'dogs'],
      [0, 0, 1, 1],
    ]);
    expect(set.skipped).toEqual([
      '1 folders without a picture, which are no classes: birds',
      '1 pictures beside the folders of the classes: overview.png',
    ]);
    const plain = await openDataset(path, { folderClasses: 'never' });
    expect([plain.classes, plain.examples.length, plain.skipped]).toEqual([[], 5, []]);
    // Most of the set is not passed over, nor is a picture that has a caption.
    const most = write('stray', Object.fromEntries([1, 2, 3, 4].map((i) => [`${i}.png`, picture(4, 4, i)])));
    await expect(openDataset(most)).rejects.toThrow(/4 pictures have a class and 5 have none, for example 1.png/);
    const captioned = write('captioned-stray', { ...inside, 'a.png': picture(4, 4, 9), 'a.txt': 'a grey square' });
    expect(await openDataset(captioned)).toMatchObject({ classes: [], examples: { length: 5 }, skipped: [] });
  });

  test('takes captions from .txt files, captions.jsonl and metadata.jsonl', async () => {
    const path = write('captions', {
      'a.png': picture(4, 4, 10),
      'a.txt': 'a grey square\na dark square\n',
      'b.png': picture(4, 4, 20),
      'sub/c.png': picture(4, 4, 30),
      'captions.jsonl': '{"file": "b.png", "caption": "b"}\n\n{"file": "gone.png", "caption": "x"}\n',
      'sub/metadata.jsonl': '{"file_name": "c.png", "text": "c"}\n',
    });
    const set = await openDataset(path);
    expect(set.classes).toEqual([]);
    expect(set.captioned).toBe(3);
    expect(set.examples.map(({ captions }) => captions)).toEqual([['a grey square', 'a dark square'], ['b'], ['c']]);
    expect(set.skipped).toEqual(['1 lines of captions.jsonl whose picture is not there: gone.png']);
    write('captions', { 'captions.jsonl': '{"file": "b.png"' });
    await expect(openDataset(path)).rejects.toThrow(/captions.jsonl: line 1 is not (?:a JSON object|JSON)/);
  });

  test('takes a string of JSON as one caption, also of several lines, and a list of them as several', async () => {
    const rows = [
      { file_name: 'a.png', text: 'A red cat.\r\n\n It sits on a mat.\n' },
      { file_name: 'b.png', captions: ['one\ntwo', 'three', '\n'] },
    ];
    const path = write('lines', {
      'a.png': picture(4, 4, 10),
      'b.png': picture(4, 4, 20),
      'metadata.jsonl': rows.map((row) => JSON.stringify(row)).join('\n'),
      'more.tar': tar({ '1.png': picture(4, 4, 30), '1.json': JSON.stringify({ caption: 'x\ny' }) }),
    });
    const set = await openDataset(path);
    expect(set.examples.map(({ captions }) => captions)).toEqual([
      ['A red cat. It sits on a mat.'],
      ['one two', 'three'],
      ['x y'],
    ]);
  });

  test('takes captions behind a byte order mark, those of .caption, and one for all pictures of its stem', async () => {
    const path = write('marks', {
      'a.png': picture(4, 4, 10),
      'b.png': picture(4, 4, 20),
      'b.webp.png': picture(4, 4, 20),
      'c.jpeg': picture(4, 4, 30),
      'c.png': picture(4, 4, 40),
      'c.txt': '\ufeffa grey square\n',
      'b.caption': 'a dark square',
      'metadata.jsonl': '\ufeff{"file_name": "a.png", "text": "a"}\n',
    });
    const set = await openDataset(path);
    expect(set.examples.map(({ name, captions }) => [name, captions])).toEqual([
      ['a.png', ['a']],
      ['b.png', ['a dark square']],
      ['b.webp.png', []],
      ['c.jpeg', ['a grey square']],
      ['c.png', ['a grey square']],
    ]);
    expect(set.skipped).toEqual([]);
  });

  test('says which columns the lines of metadata.jsonl have instead of captions', async () => {
    const rows = [1, 2].map((i) => `{"file_name": "${i}.png", "prompt": "a square"}`);
    const pictures = { '1.png': picture(4, 4, 10), '2.png': picture(4, 4, 20) };
    const set = await openDataset(write('prompts', { ...pictures, 'metadata.jsonl': rows.join('\n') }));
    expect(set.skipped).toEqual([
      '2 lines of metadata.jsonl with neither "text" nor "caption" nor "label" (but file_name, prompt): 1.png, 2.png',
    ]);
  });

  test('takes labels of metadata.jsonl, which must then be for all pictures', async () => {
    const path = write('labels', {
      'a.png': picture(4, 4, 10),
      'b.png': picture(4, 4, 20),
      'metadata.jsonl': '{"file_name": "a.png", "label": "sun"}\n{"file_name": "b.png", "label": "moon"}\n',
    });
    const set = await openDataset(path);
    expect([set.classes, set.examples.map(({ label }) => label)]).toEqual([
      ['moon', 'sun'],
      [1, 0],
    ]);
    write('labels', { 'c.png': picture(4, 4, 30) });
    await expect(openDataset(path)).rejects.toThrow(/2 pictures have a class and 1 have none, for example c.png/);
  });

  test('reads the shards of a WebDataset, and refuses what is no archive', async () => {
    const shard = tar({
      '0001.png': picture(4, 4, 10),
      '0001.cls': '3',
      '0001.txt': 'one',
      '0002.png': picture(4, 4, 20),
      '0002.json': '{"label": 7, "caption": "two"}',
      'x/0003.png': picture(4, 8, 30),
      'x/0003.cls': '3',
      '0004.txt': 'alone',
    });
    const path = write('shards', { 'train-000.tar': shard });
    const set = await openDataset(path);
    expect(set.classes).toEqual(['3', '7']);
    expect(set.examples.map(({ name, label, captions }) => [name, label, captions])).toEqual([
      ['train-000.tar/0001.png', 0, ['one']],
      ['train-000.tar/0002.png', 1, ['two']],
      ['train-000.tar/x/0003.png', 0, []],
    ]);
    expect(set.skipped).toEqual(['1 .txt without a picture: train-000.tar/0004.txt']);
    const file = join(path, 'train-000.tar');
    expect((await openDataset(file)).examples.length).toBe(3);
    const damaged = Buffer.from(readFileSync(file));
    damaged[3]! ^= 1;
    writeFileSync(join(path, 'damaged.tar'), damaged);
    await expect(readTar(join(path, 'damaged.tar'))).rejects.toThrow(/checksum of the header at byte 0 is wrong/);
    writeFileSync(join(path, 'cut.tar'), shard.subarray(0, 1100));
    await expect(readTar(join(path, 'cut.tar'))).rejects.toThrow(/ends in the middle of a member at byte 1024/);
  });

  test('says what was there when no picture was', async () => {
    const path = write('none', { 'a.heic': 'x', 'b.heic': 'y' });
    await expect(openDataset(path)).rejects.toThrow(/no picture .*\n.*2 \.heic that are no pictures: a\.heic, b\.heic/);
    await expect(openDataset(join(path, 'gone'))).rejects.toThrow(/no such folder or file/);
  });

  test('parts are disjoint, the same for the same names, and another set by fingerprint', async () => {
    const path = write(
      'split',
      Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`${i}.png`, picture(2, 2, i)])),
    );
    const set = await openDataset(path);
    const { train, heldOut } = splitDataset(set, 3, 5);
    expect([train.examples.length, heldOut.examples.length]).toEqual([9, 3]);
    expect(new Set([...train.examples, ...heldOut.examples].map(({ name }) => name)).size).toBe(12);
    expect(splitDataset(await openDataset(path), 3, 5).train.fingerprint).toBe(train.fingerprint);
    expect(train.fingerprint).not.toBe(set.fingerprint);
    expect(() => splitDataset(set, 12, 5)).toThrow(InvalidArgumentError);
  });
});

test('readExamples gives all pictures at once, in the order of the examples', async () => {
  const set = await openDataset(
    write('whole', { 'b/2.png': picture(4, 4, 20), 'a/1.png': picture(4, 8, 10, 90), 'b/3.png': picture(8, 8, 30) }),
  );
  const { images, labels, ...rest } = await readExamples(set, { size: 4, channels: 1 });
  expect(rest).toEqual({ classes: ['a', 'b'], count: 3, height: 4, width: 4, channels: 1 });
  expect(Array.from(labels)).toEqual([0, 1, 1]);
  // The middle square of the wide one has both halves.
  expect(Array.from({ length: 3 }, (_, i) => [images[16 * i], images[16 * i + 15]])).toEqual([
    [10, 90],
    [20, 20],
    [30, 30],
  ]);
  await expect(readExamples({ ...set, examples: [] }, { size: 4, channels: 1 })).rejects.toThrow('exampleStream');
});

describe('exampleStream', () => {
  /** Ten pictures, each twice as wide as high, dark left and bright right; the picture i is `10 i` and `10 i + 5`. */
  const tenWide = async () => {
    const files = Array.from({ length: 10 }, (_, i) => [`${i}.png`, picture(8, 16, 10 * i, 10 * i + 5)] as const);
    return openDataset(write('wide', { ...Object.fromEntries(files), '3.txt': 'three\ndrei' }));
  };
  const streams: { close(): Promise<void> }[] = [];
  const open = (set: Dataset, options: Partial<ExampleStreamOptions> = {}) => {
    const stream = exampleStream(set, { batchSize: 4, seed: 1, size: 4, channels: 1, threads: 0, ...options });
    streams.push(stream);
    return stream;
  };
  afterAll(() => Promise.all(streams.map((stream) => stream.close())));
  const bytes = (images: Float32Array) => Array.from(images, (x) => Math.round((x + 1) * 127.5));

  test('cuts the middle, and gives each picture once an epoch in an order of its own', async () => {
    const set = await tenWide();
    const stream = open(set);
    expect(stream.batchesPerEpoch).toBe(2);
    const seen: number[] = [];
    for (let k = 0; k < 2; k++) {
      const { images, indices, shape, captions } = await stream.next();
      expect(shape).toEqual([4, 4, 4, 1]);
      indices.forEach((index, n) => {
        seen.push(index);
        const row = bytes(images).slice(16 * n, 16 * n + 4);
        expect([row[0], row[3]]).toEqual([10 * index, 10 * index + 5]); // the edge is in the middle of the cut
        expect(index === 3 ? ['three', 'drei'] : ['']).toContain(captions[n]);
      });
    }
    expect(new Set(seen).size).toBe(8);
    const next = await stream.next();
    expect(Array.from(next.indices)).not.toEqual(seen.slice(0, 4));
  });

  test("last: 'keep' gives the pictures that are left as a smaller batch", async () => {
    const stream = open(await tenWide(), { last: 'keep' });
    expect(stream.batchesPerEpoch).toBe(3);
    const batches = [await stream.next(), await stream.next(), await stream.next()];
    expect(batches.map(({ shape }) => shape[0])).toEqual([4, 4, 2]);
    expect(new Set(batches.flatMap(({ indices }) => [...indices])).size).toBe(10);
    const set = await tenWide();
    expect(() => open(set, { last: 'keep', buckets: { step: 2 } })).toThrow(/last: with buckets/);
  });

  test('random cuts and flips are of seed and epoch alone; threads give the same batches', async () => {
    const set = await tenWide();
    const options = { crop: 'random', flip: true } as const;
    const [here, threads] = [open(set, options), open(set, { ...options, threads: 2, ahead: 3, cacheBytes: 0 })];
    let sawRight = false;
    for (let k = 0; k < 5; k++) {
      const [a, b] = [await here.next(), await threads.next()];
      expect(b).toEqual(a);
      a.indices.forEach((index, n) => {
        const row = bytes(a.images).slice(16 * n, 16 * n + 4);
        sawRight ||= row[0]! > 10 * index; // mirrored, or cut from the right half
      });
    }
    expect(sawRight).toBe(true);
  });

  test('several processes that share each batch see together what one sees', async () => {
    const set = await tenWide();
    const options = { crop: 'random', flip: true } as const;
    const whole = open(set, options);
    const ranks = [0, 1].map((first) => open(set, { ...options, share: { batches: 1, parts: 2, first, count: 1 } }));
    for (let k = 0; k < 5; k++) {
      const { images, indices, captions } = await whole.next();
      const [a, b] = [await ranks[0]!.next(), await ranks[1]!.next()];
      expect([...a.indices, ...b.indices]).toEqual([...indices]);
      expect([...a.captions, ...b.captions]).toEqual(captions);
      expect([...a.images, ...b.images]).toEqual([...images]);
      expect(a.shape).toEqual([2, 4, 4, 1]);
      expect(ranks[1]!.state()).toEqual(whole.state());
    }
    const share = { batches: 1, parts: 3, first: 0, count: 1 };
    expect(() => open(set, { share })).toThrow('a batch of 4 cannot be cut into 3 equal parts');
  });

  test('goes on from a state with the batch that would have come, whatever was made ahead', async () => {
    const set = await tenWide();
    const stream = open(set, { ahead: 4, crop: 'random' });
    await stream.next();
    const state = JSON.parse(JSON.stringify(stream.state()));
    const expected = [await stream.next(), await stream.next()];
    const other = open(set, { ahead: 1, crop: 'random' });
    await other.next();
    await other.next();
    other.resume(state);
    expect([await other.next(), await other.next()]).toEqual(expected);
    const flipped = open(set, { crop: 'random', flip: true });
    expect(() => flipped.resume(state)).toThrow(/flip: the state is of false, this stream is of true/);
  });

  test('keeps shapes in buckets, every batch of one size, every picture once', async () => {
    const shapes = Object.fromEntries(
      Array.from({ length: 9 }, (_, i) => [`${i}.png`, i < 5 ? picture(16, 8, 10 * i) : picture(8, 16, 10 * i)]),
    );
    const set = await openDataset(write('buckets', shapes));
    const stream = open(set, { size: 8, batchSize: 2, buckets: { step: 2 } });
    expect(stream.sizes.map(({ count }) => count).sort()).toEqual([4, 5]);
    for (const { height, width } of stream.sizes) {
      expect([height % 2, width % 2]).toEqual([0, 0]);
      expect(Math.abs(height * width - 64)).toBeLessThan(24);
    }
    expect(stream.batchesPerEpoch).toBe(3 + 2);
    const seen = new Set<number>();
    for (let k = 0; k < 5; k++) {
      const { indices, shape } = await stream.next();
      for (const index of indices) {
        seen.add(index);
        expect(shape[1] > shape[2]).toBe(index < 5);
      }
    }
    expect(seen.size).toBe(9);
  });

  test('refuses buckets that no size fits', async () => {
    const set = await tenWide();
    expect(() => open(set, { size: 12, buckets: { step: 8, ratio: 1.2 } })).toThrow(
      /buckets: no sides that are multiples of 8 and at most 1.2 times each other have about the area of 12 x 12/,
    );
  });

  test('a picture that is damaged behind its header ends the stream with its name, also in a thread', async () => {
    const path = write('damaged', { 'a.png': picture(64, 64, 10, 200), 'b.png': picture(64, 64, 30) });
    const file = join(path, 'a.png');
    writeFileSync(file, readFileSync(file).subarray(0, 60));
    const set = await openDataset(path);
    expect(set.examples.length).toBe(2);
    await expect(open(set, { batchSize: 2 }).next()).rejects.toThrow(/a\.png: /);
    await expect(open(set, { batchSize: 2, threads: 1 }).next()).rejects.toThrow(/a\.png: /);
  });

  test('numbers that cannot be are refused together', async () => {
    const set = await tenWide();
    expect(() => open(set, { batchSize: 11, size: 0, threads: -1 })).toThrow(
      /size.*got 0\n.*threads.*got -1\n.*batch of 11/s,
    );
  });
});

test.each([0, 1])(
  'pictures that are damaged behind their headers are left out and named, with %i threads',
  async (threads) => {
    const good = picture(8, 8, 20);
    const cut = good.slice(0, good.length - 20);
    const path = write(`damaged-${threads}`, { 'a/1.png': good, 'a/2.png': cut, 'b/3.png': good, 'b/4.txt': 'a cat' });
    const set = await openDataset(path);
    expect(set.examples).toHaveLength(3); // their headers are whole
    const seen: number[] = [];
    const sound = await withoutDamaged(set, { threads, onProgress: (done) => seen.push(done) });
    expect(seen).toEqual([1, 2, 3]);
    expect(sound.examples.map(({ name }) => name)).toEqual(['a/1.png', 'b/3.png']);
    expect(sound.classes).toEqual(['a', 'b']);
    expect(sound.skipped.at(-1)).toBe('1 picture that is damaged behind the header: a/2.png');
    expect(sound.fingerprint).not.toBe(set.fingerprint);
    expect(await withoutDamaged(sound, { threads })).toBe(sound);
    const none = await openDataset(write(`all-damaged-${threads}`, { '1.png': cut }));
    await expect(withoutDamaged(none, { threads })).rejects.toThrow(
      /1 picture that is damaged behind the header: 1.png; none is left/,
    );
  },
);
