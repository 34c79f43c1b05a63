import { describe, expect, test } from 'vitest';
import { batches, type ImageSet } from '../src/index.js';

const count = 14;
const set: ImageSet = {
  images: Uint8Array.from({ length: 4 * count }, (_, i) => i),
  labels: Int32Array.from({ length: count }, (_, i) => i),
  ...{ classes: Array.from({ length: count }, String), count, height: 2, width: 2, channels: 1 },
};

/** Labels of the micro-batches of `updates` updates, as `size` processes take them, by update. */
async function labelsOf(size: number, parts: number, accumulation: number, updates: number, from = 0) {
  const each = (accumulation * parts) / size;
  const ranks = Array.from({ length: size }, (_, rank) =>
    batches(set, {
      ...{ batchSize: 4, seed: 3, flip: true },
      share: { batches: accumulation, parts, first: rank * each, count: each },
    }),
  );
  for (const stream of ranks) if (from > 0) stream.resume({ ...stream.state(), epoch: 0, batch: from });
  const seen: number[][] = [];
  for (let update = 0; update < updates; update++) {
    const labels: number[] = [];
    for (const stream of ranks) for (let k = 0; k < each; k++) labels.push(...(await stream.next()).labels);
    seen.push(labels);
    for (const stream of ranks) expect(stream.state()).toEqual(ranks[0]!.state());
  }
  return { seen, state: ranks[0]!.state() };
}

describe('a share of batches', () => {
  test.each([
    [1, 2, 1],
    [2, 1, 2],
    [2, 2, 1],
    [4, 4, 1],
    [4, 2, 2],
    [2, 4, 3],
  ])('%i processes that cut each batch in %i see together what one process sees', async (size, parts, accumulation) => {
    const whole = await labelsOf(1, 1, accumulation, 7); // over two ends of an epoch
    const shared = await labelsOf(size, parts, accumulation, 7);
    expect(shared).toEqual(whole);
    expect((await labelsOf(size, parts, accumulation, 2, 1)).seen[0]).not.toEqual(whole.seen[0]);
  });

  test('pixels are cut as labels are', async () => {
    const whole = await batches(set, { batchSize: 4, seed: 3, flip: true }).next();
    const share = { batches: 1, parts: 2, first: 1, count: 1 };
    const second = await batches(set, { batchSize: 4, seed: 3, flip: true, share }).next();
    expect(second.shape).toEqual([2, 2, 2, 1]);
    expect(second.images).toEqual(whole.images.slice(8));
  });

  test('refuses parts that are not equal, or not there', () => {
    const of = (share: object) => () =>
      batches(set, { batchSize: 4, seed: 0, share: { batches: 1, parts: 1, first: 0, count: 1, ...share } });
    expect(of({ parts: 3 })).toThrow('a batch of 4 cannot be cut into 3 equal parts');
    expect(of({ parts: 2, first: 1, count: 2 })).toThrow('the parts 1 to 2 are not among the 2 of an update');
    expect(of({ count: 0 })).toThrow('expected whole numbers');
  });
});
