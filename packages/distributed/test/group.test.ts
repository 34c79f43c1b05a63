import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { addPairwise, single, workers } from '../src/index.js';
import { checkGroup } from './group-checks.js';
import { members } from './members.js';

describe('Group', () => {
  test('of one process does what a group does, and sends nothing', async () => {
    const group = single();
    expect(await checkGroup(group)).toEqual([]);
    expect(group.bytesSent).toBe(0);
  });

  test.each([2, 3, 4, 5])('of %i members sums in the order of the tree, on every rank the same', async (size) => {
    expect(await members(size, checkGroup)).toEqual(Array(size).fill([]));
  });

  test('sends arrays that are larger than its memory in pieces', async () => {
    expect(await members(3, checkGroup, 1000)).toEqual([[], [], []]);
  });

  test('of real threads', async () => {
    const child = new URL('./worker-child.ts', import.meta.url);
    const found = await Promise.all(
      workers(3).map(
        (workerData) =>
          new Promise((resolve, reject) => {
            const worker = new Worker(child, { workerData });
            worker.on('message', resolve);
            worker.on('error', reject);
          }),
      ),
    );
    expect(found).toEqual([[], [], []]);
  });

  test('a block of 2^k summands is a subtree: how they are spread over ranks does not change a bit', () => {
    const numbers = (i: number) => Float32Array.from({ length: 50 }, (_, k) => Math.sin(k + 7 * i) / 3 + i);
    const whole = addPairwise(Array.from({ length: 12 }, (_, i) => numbers(i)));
    for (const block of [1, 2, 4]) {
      const blocks = Array.from({ length: 12 / block }, (_, b) =>
        addPairwise(Array.from({ length: block }, (_, i) => numbers(b * block + i))),
      );
      expect(addPairwise(blocks)).toEqual(whole);
    }
    // Blocks of 3 are no subtrees; the order does change these sums.
    const threes = [0, 3, 6, 9].map((b) => addPairwise([numbers(b), numbers(b + 1), numbers(b + 2)]));
    expect(addPairwise(threes)).not.toEqual(whole);
  });

  test('bytes sent: a large reduction sends 2 (N - 1) / N of the array, half of it as bfloat16', async () => {
    const sent = (wire: 'float32' | 'bfloat16') =>
      members(4, async (group) => {
        await group.allReduce(new Float32Array(40_000), 'sum', { wire });
        return group.bytesSent;
      });
    expect(await sent('float32')).toEqual(Array(4).fill(((2 * 3) / 4) * 160_000));
    expect(await sent('bfloat16')).toEqual(Array(4).fill(((2 * 3) / 4) * 80_000));
  });

  test('a member that fails ends the others with its reason', async () => {
    const work = members(3, async (group) => {
      if (group.rank === 2) throw new Error('no memory left');
      await group.barrier();
      await group.allReduce(new Float32Array(10_000), 'sum');
    });
    await expect(work).rejects.toThrow('no memory left');
    const reasons = await Promise.all(
      workers(2).map(async (seat, _, seats) => {
        const { joinWorkers } = await import('../src/index.js');
        const group = joinWorkers({ ...seat, memory: seats[0]!.memory });
        if (seat.rank === 1) {
          group.abort('no memory left');
          return 'aborted';
        }
        return group.barrier().catch((error: Error) => error.message);
      }),
    );
    expect(reasons).toEqual(['The job was ended by rank 1: no memory left', 'aborted']);
  });

  test('refuses what cannot be', async () => {
    expect(() => workers(0)).toThrow('expected a whole number of threads from 1, got 0');
    await expect(single().reduceScatter(new Float32Array(3), [1, 1])).rejects.toThrow(
      'expected 1 counts that add up to 3, got 2 that add up to 2',
    );
    await expect(single().broadcast(new Float32Array(3), 1)).rejects.toThrow('expected a root from 0 to 0, got 1');
    await expect(single().allReduce(new Int32Array(3), 'sum', { wire: 'bfloat16' })).rejects.toThrow('float32');
  });
});
