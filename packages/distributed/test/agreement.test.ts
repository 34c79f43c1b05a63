import { switchTo } from '@mezzotint/backend/testing';
import { expect, test } from 'vitest';
import { allGatherJson, broadcastJson, broadcastParams, broadcastStateDict, checkSame, single } from '../src/index.js';
import { members } from './members.js';
import { Net } from './tiny-training.js';

test('settings that differ are named with their values and ranks, all at once, on every rank', async () => {
  const settings = (rank: number) => ({
    steps: 10,
    batchSize: rank === 1 ? 16 : 32,
    optimizer: { kind: 'adamw', betas: [0.9, rank === 2 ? 0.99 : 0.999] },
    ...(rank === 2 && { flip: true }),
  });
  const errors = await members(3, (group) =>
    checkSame(group, 'train', settings(group.rank)).then(
      () => 'none',
      (error: Error) => error.message,
    ),
  );
  expect(errors).toEqual(
    Array(3).fill(
      'train: the ranks were started with different settings:\n' +
        '  batchSize differs: 32 on ranks 0, 2; 16 on rank 1\n' +
        '  optimizer.betas differs: [0.9,0.999] on ranks 0, 1; [0.9,0.99] on rank 2\n' +
        '  flip differs: nothing on ranks 0, 1; true on rank 2',
    ),
  );
  await checkSame(single(), 'train', settings(0));
});

test('values go from all to all and from one to all', async () => {
  const got = await members(3, async (group) => [
    await allGatherJson(group, { rank: group.rank }),
    await broadcastJson(group, group.rank === 2 ? { text: 'größer' } : undefined, 2),
  ]);
  expect(got).toEqual(Array(3).fill([[{ rank: 0 }, { rank: 1 }, { rank: 2 }], { text: 'größer' }]));
});

test('weights and states go from one rank to all', async () => {
  await switchTo('cpu');
  const saved = await members(3, async (group) => {
    const net = new Net().init(group.rank);
    await broadcastParams(group, net.params(), 1);
    const own = group.rank === 1 ? { ...(await net.save()), n: { shape: [2], data: Int32Array.of(1, 2) } } : undefined;
    return { weights: await net.save(), state: await broadcastStateDict(group, own, 1) };
  });
  const expected = await new Net().init(1).save();
  for (const { weights, state } of saved) {
    expect(weights).toEqual(expected);
    expect(state).toEqual({ ...expected, n: { shape: [2], data: Int32Array.of(1, 2) } });
  }
});
