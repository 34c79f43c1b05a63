import { readFileSync, writeFileSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { encodeLatents, latentStream, readLatentsIndex } from '../src/index.js';
import { imagesPerShard } from '../src/latents.js';
import { temporaryFolder } from './temporary-folder.js';

/** 10 images of 2 x 2 x 1, the image i full of i / 10, of class i mod 2; encoded as two channels: the value, and 3 times it. */
async function encoded(folder: string) {
  let k = 0;
  const stream = {
    batchesPerEpoch: 5,
    next: async () => {
      const first = 2 * k++;
      const images = Float32Array.from({ length: 8 }, (_, e) => (first + Math.floor(e / 4)) / 10);
      const labels = Int32Array.of(first % 2, (first + 1) % 2);
      const captions = [`image ${first}`, `image ${first + 1}`];
      return { images, labels, captions, indices: Int32Array.of(first, first + 1), shape: [2, 2, 2, 1] as const };
    },
  };
  return encodeLatents(
    folder,
    stream,
    async ({ images, shape }) => ({
      mean: Float32Array.from({ length: images.length * 2 }, (_, e) => images[e >> 1]! * (e % 2 === 0 ? 1 : 3)),
      deviation: new Float32Array(images.length * 2).fill(0.1),
      shape: [shape[0], 2, 2, 2],
    }),
    {
      ...{ classes: ['even', 'odd'], encoder: 'test', perShard: 4 },
      captions: Array.from({ length: 10 }, (_, i) => [`image ${i}`, `numbr ${i}`]),
    },
  );
}

test('means and deviations of the set are those of its samples', async () => {
  const folder = join(await temporaryFolder(), 'latents');
  const index = await encoded(folder);
  expect(readLatentsIndex(folder)).toEqual(index);
  expect(index.count).toBe(10);
  expect(index.image).toEqual([2, 2, 1]);
  expect(index.captions[3]).toEqual(['image 3', 'numbr 3']);
  // i / 10 for i in 0..9: mean 0.45, variance 0.0825; a sample adds 0.01.
  expect(index.mean[0]).toBeCloseTo(0.45, 6);
  expect(index.deviation[0]).toBeCloseTo(Math.sqrt(0.0825 + 0.01), 6);
  expect(index.mean[1]).toBeCloseTo(1.35, 6);
  expect(index.deviation[1]).toBeCloseTo(Math.sqrt(9 * 0.0825 + 0.01), 6);
});

test('shards are of a size that training reads and can keep in memory', () => {
  expect(imagesPerShard({ height: 32, width: 32, channels: 4 })).toBe(1024);
  // 8 bytes a number: 2 MiB an image, and a label of 4 bytes.
  const large = { height: 128, width: 128, channels: 16 };
  expect(imagesPerShard(large)).toBe(127);
  expect(imagesPerShard({ ...large, mirrored: true })).toBe(63);
  expect(imagesPerShard(large, 1000)).toBe(1000);
  for (const asked of [1024, 0, 1.5]) {
    expect(() => imagesPerShard(large, asked)).toThrow(
      `perShard to be from 1 to 1023 latent images of 128 x 128 x 16, got ${asked}`,
    );
  }
});

test('a folder may be named with a slash at its end, and is replaced whole', async () => {
  const root = await temporaryFolder();
  const index = await encoded(`${join(root, 'latents')}/`);
  await writeFile(join(root, 'latents', 'latents-00000.bin'), 'damaged');
  await encoded(`${join(root, 'latents')}/`);
  expect(readLatentsIndex(join(root, 'latents'))).toEqual(index);
  expect(await readdir(root)).toEqual(['latents']);
});

test('batches are normalised samples, each image once an epoch, and go on from a state', async () => {
  const folder = join(await temporaryFolder(), 'latents');
  await encoded(folder);
  const stream = latentStream(folder, { batchSize: 5, seed: 3, shards: 1 });
  const seen = new Set<string>();
  const kinds = new Set<string>();
  let [sum, square] = [0, 0];
  for (let k = 0; k < 2; k++) {
    const { images, labels, captions, shape } = await stream.next();
    expect(shape).toEqual([5, 2, 2, 2]);
    captions.forEach((caption, n) => {
      seen.add(caption.slice(6));
      kinds.add(caption.slice(0, 5));
      expect(labels[n]).toBe(Number(caption.slice(6)) % 2);
    });
    for (const x of images) {
      sum += x;
      square += x * x;
    }
  }
  expect(seen.size).toBe(10);
  expect(kinds.size).toBe(2); // either caption of an image comes
  // All 80 numbers of one sample of the set: mean 0 and deviation 1 up to the noise of the samples.
  expect(Math.abs(sum / 80)).toBeLessThan(0.1);
  expect(Math.abs(square / 80 - 1)).toBeLessThan(0.2);
  // Two processes that share each batch see together what one sees.
  const one = latentStream(folder, { batchSize: 4, seed: 3 });
  const shares = [0, 1].map((first) =>
    latentStream(folder, { batchSize: 4, seed: 3, share: { batches: 1, parts: 2, first, count: 1 } }),
  );
  for (let k = 0; k < 3; k++) {
    const [batch, a, b] = [await one.next(), await shares[0]!.next(), await shares[1]!.next()];
    expect([...a.images, ...b.images]).toEqual([...batch.images]);
    expect([...a.captions, ...b.captions]).toEqual(batch.captions);
    expect(b.shape).toEqual([2, 2, 2, 2]);
    expect(shares[1]!.state()).toEqual(one.state());
  }
  const state = JSON.parse(JSON.stringify(stream.state()));
  const expected = await stream.next();
  const other = latentStream(folder, { batchSize: 5, seed: 3 });
  other.resume(state);
  expect(await other.next()).toEqual(expected);
  expect(() => latentStream(folder, { batchSize: 5, seed: 4 }).resume(state)).toThrow(/seed: the state is of 3/);
});

/** Six images of 1 x 2 x 1, image i is [i, i + 0.5]; encoded as they are, with a deviation of 0, and mirrored when asked. */
async function encodedPairs(folder: string, mirrored: boolean) {
  let k = 0;
  const stream = {
    batchesPerEpoch: 3,
    next: async () => {
      const first = 2 * k++;
      const images = Float32Array.of(first, first + 0.5, first + 1, first + 1.5);
      const indices = Int32Array.of(first, first + 1);
      return { images, labels: indices, indices, captions: ['', ''], shape: [2, 1, 2, 1] as const };
    },
  };
  const encode = async ({ images }: { readonly images: Float32Array }) => ({
    ...{ mean: Float32Array.from(images), deviation: new Float32Array(4) },
    shape: [2, 1, 2, 1] as const,
  });
  return encodeLatents(folder, stream, encode, { classes: [], encoder: 'test', perShard: 4, mirrored });
}

test('of images that were encoded mirrored, too, one of both is given, decided anew in each epoch and the same after a resume', async () => {
  const folder = join(await temporaryFolder(), 'latents');
  const index = await encodedPairs(folder, true);
  expect(readLatentsIndex(folder)).toEqual(index);
  expect(index.mirrored).toBe(true);
  expect(index.mean[0]).toBeCloseTo(2.75, 6);
  const raw = { mean: [0], deviation: [1] };
  const stream = latentStream(folder, { batchSize: 2, seed: 1, ...raw });
  const turns: boolean[][] = [];
  const states: { state: unknown; next: number[] }[] = [];
  for (let epoch = 0; epoch < 8; epoch++) {
    const mirrored = Array<boolean>(6);
    for (let k = 0; k < 3; k++) {
      const state = JSON.parse(JSON.stringify(stream.state())) as unknown;
      const { images, labels } = await stream.next();
      states.push({ state, next: [...images] });
      labels.forEach((i, n) => {
        const pair = [images[2 * n]!, images[2 * n + 1]!];
        mirrored[i] = pair[0]! > pair[1]!;
        expect(pair).toEqual(mirrored[i] ? [i + 0.5, i] : [i, i + 0.5]);
      });
    }
    turns.push(mirrored);
  }
  // 48 fair coins.
  const count = turns.flat().filter(Boolean).length;
  expect(count).toBeGreaterThan(12);
  expect(count).toBeLessThan(36);
  expect(new Set(turns.map(String)).size).toBeGreaterThan(4);
  for (const { state, next } of states) {
    const other = latentStream(folder, { batchSize: 2, seed: 1, ...raw });
    other.resume(state);
    expect([...(await other.next()).images]).toEqual(next);
  }
  // Without flips they are as they are; a state of one is none of the other.
  const plain = latentStream(folder, { batchSize: 2, seed: 1, flip: false, ...raw });
  const { images, labels } = await plain.next();
  expect([...images]).toEqual([...labels].flatMap((i) => [i, i + 0.5]));
  expect(() => plain.resume(states[1]!.state)).toThrow(/flip: the state is of true, these latents are of undefined/);
});

test('flips of images that were not encoded mirrored are refused', async () => {
  const folder = join(await temporaryFolder(), 'latents');
  await encodedPairs(folder, false);
  expect(() => latentStream(folder, { batchSize: 2, seed: 1, flip: true })).toThrow(
    /flip: .*latents has no mirrored latent images; encode the pictures again with mirrored: true/,
  );
});

test('a shard that was cut is refused', async () => {
  const folder = join(await temporaryFolder(), 'latents');
  await encoded(folder);
  const shard = join(folder, 'latents-00001.bin');
  writeFileSync(shard, readFileSync(shard).subarray(0, 100));
  expect(() => latentStream(folder, { batchSize: 5, seed: 3 })).toThrow(
    /latents-00001.bin: expected 272 bytes, got 100/,
  );
});
