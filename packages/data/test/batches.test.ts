import { describe, expect, test } from 'vitest';
import { batches, epochOrder, type ImageSet } from '../src/index.js';

/** Ten images of 2 x 3 whose label is their index and whose pixels are 6 * index + position. */
const set: ImageSet = {
  images: Uint8Array.from({ length: 60 }, (_, i) => i),
  labels: Int32Array.from({ length: 10 }, (_, i) => i),
  classes: [...'0123456789'],
  count: 10,
  height: 2,
  width: 3,
  channels: 1,
};

describe('batches', () => {
  test('an epoch has every image once, in its own order', async () => {
    const one = batches(set, { batchSize: 5, seed: 7 });
    expect(one.batchesPerEpoch).toBe(2);
    const epochs: number[][] = [];
    for (let epoch = 0; epoch < 3; epoch++) epochs.push([...(await one.next()).labels, ...(await one.next()).labels]);
    for (const [epoch, labels] of epochs.entries()) {
      expect(labels).toEqual([...epochOrder(10, 7, epoch)]);
      expect([...labels].sort()).toEqual([...set.labels]);
    }
    expect(new Set(epochs.map(String)).size).toBe(3);
    expect([...epochOrder(10, 8, 0)]).not.toEqual([...epochOrder(10, 7, 0)]);
  });

  test('pixels follow their label, in [-1, 1]', async () => {
    const { images, labels, shape } = await batches(set, { batchSize: 4, seed: 1 }).next();
    expect(shape).toEqual([4, 2, 3, 1]);
    labels.forEach((label, n) => {
      const bytes = [...images.subarray(6 * n, 6 * n + 6)].map((v) => Math.round((v + 1) * 127.5));
      expect(bytes).toEqual([0, 1, 2, 3, 4, 5].map((i) => 6 * label + i));
    });
  });

  test.each([
    ['drop', 2, [4, 4, 4, 4]],
    ['keep', 3, [4, 4, 2, 4]],
  ] as const)('%s: %i batches an epoch', async (last, perEpoch, sizes) => {
    const all = batches(set, { batchSize: 4, seed: 1, last });
    expect(all.batchesPerEpoch).toBe(perEpoch);
    for (const size of sizes) expect((await all.next()).shape[0]).toBe(size);
  });

  test.each(['drop', 'keep'] as const)('resumes at every place through JSON, bit for bit (%s)', async (last) => {
    const options = { batchSize: 3, seed: 5, flip: true, last };
    const whole = batches(set, options);
    const states: string[] = [];
    const seen = [];
    for (let i = 0; i < 9; i++) {
      states.push(JSON.stringify(whole.state()));
      seen.push(await whole.next());
    }
    for (let i = 0; i < 9; i++) {
      const resumed = batches(set, options);
      await resumed.next(); // an iterator that is in use can be moved too
      resumed.resume(JSON.parse(states[i]!));
      for (let k = i; k < 9; k++) expect(await resumed.next()).toEqual(seen[k]);
    }
  });

  test('flip mirrors about half of the images, anew in each epoch', async () => {
    const many: ImageSet = {
      ...set,
      count: 1000,
      images: new Uint8Array(6000).map((_, i) => i % 3),
      labels: new Int32Array(1000),
    };
    const flipped = batches(many, { batchSize: 1000, seed: 2, flip: true });
    const masks = [];
    for (let epoch = 0; epoch < 2; epoch++) {
      const { images } = await flipped.next();
      const mask = Array.from({ length: 1000 }, (_, n) => images[6 * n]! > images[6 * n + 2]!);
      for (let n = 0; n < 1000; n++) {
        const row = [...images.subarray(6 * n, 6 * n + 3)];
        expect(mask[n] ? [...row].reverse() : row).toEqual([-1, 1 / 127.5 - 1, 2 / 127.5 - 1].map(Math.fround));
      }
      // 500 +- 4 standard deviations of a binomial (15.8)
      expect(Math.abs(mask.filter(Boolean).length - 500)).toBeLessThan(64);
      masks.push(String(mask));
    }
    expect(masks[0]).not.toBe(masks[1]);
  });

  test('refuses a state of other data or options, and stays where it is', async () => {
    const from = batches(set, { batchSize: 4, seed: 1 });
    const to = batches(set, { batchSize: 5, seed: 2, flip: true });
    await to.next();
    expect(() => to.resume(from.state())).toThrow(
      /batchSize: the state is of 4, these batches are of 5\n.*seed: .* 1.* 2\n.*flip: .*false.*true/,
    );
    expect(to.state()).toMatchObject({ epoch: 0, batch: 1 });
    const bad = { ...to.state(), epoch: -1, batch: 2 };
    expect(() => to.resume(bad)).toThrow(/epoch from 0, got -1\n.*batch in \[0, 2\), got 2/);
  });

  test.each([null, undefined, 7, 'x', {}, { of: null }, []])('refuses %j as a state', (state) => {
    expect(() => batches(set, { batchSize: 5, seed: 0 }).resume(state)).toThrow(
      /batches\.resume:\n.*count: the state is of undefined/,
    );
  });

  test('refuses what cannot be cut', () => {
    expect(() => batches(set, { batchSize: 0, seed: 0.5 })).toThrow(/batchSize.*got 0\n.*seed.*got 0\.5/);
    expect(() => batches(set, { batchSize: 11, seed: 0 })).toThrow(/batch of 11 does not fit in 10 images/);
    expect(batches(set, { batchSize: 11, seed: 0, last: 'keep' }).batchesPerEpoch).toBe(1);
  });
});
