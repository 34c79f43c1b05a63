import { switchTo, testEngines } from '@mezzotint/backend/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { single } from '../src/index.js';
import { members } from './members.js';
import { lossOf, type Run, trainRank } from './tiny-training.js';

/** The numbers of a run that every rank must have alike. */
const numbersOf = ({ weights, steps, rng }: Run) => ({
  weights,
  rng,
  steps: steps.map(({ loss, gradientNorm, observed }) => ({ loss, gradientNorm, observed })),
});

describe.each(await testEngines())('training on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test.each([2, 4, 8])('%i ranks end with the bits of one process that accumulates', async (size) => {
    const alone = await trainRank(single(), { microBatches: 8 });
    const ranks = await members(size, (group) => trainRank(group, { microBatches: 8 }));
    for (const rank of ranks) expect(numbersOf(rank)).toEqual(numbersOf(alone));
    expect(ranks[0]!.optimizer).toEqual(alone.optimizer);
    expect(alone.steps[0]!.observed).toEqual({ batch: 3.5 });
    expect(alone.steps[0]!.gradientNorm).toBeGreaterThan(0.05); // so that it was clipped
  });

  test('sharded moments give the bits of whole ones, and a complete state', async () => {
    const alone = await trainRank(single(), { microBatches: 4 });
    const ranks = await members(4, (group) => trainRank(group, { microBatches: 4, sharded: true }));
    for (const rank of ranks) {
      expect(numbersOf(rank)).toEqual(numbersOf(alone));
      expect(rank.optimizer).toEqual(alone.optimizer);
    }
  });
});

describe('training', () => {
  beforeAll(() => switchTo('cpu'));

  test('other numbers of ranks, sharded or not, go on with the same bits', async () => {
    const whole = await trainRank(single(), { microBatches: 4, until: 6 });
    const [begun] = await members(4, (group) => trainRank(group, { microBatches: 4, until: 2, sharded: true }));
    const [further] = await members(2, (group) => trainRank(group, { microBatches: 4, until: 4, from: begun! }));
    const [sharded] = await members(2, (group) =>
      trainRank(group, { microBatches: 4, until: 5, from: further!, sharded: true }),
    );
    const last = await trainRank(single(), { microBatches: 4, until: 6, from: sharded! });
    expect(numbersOf(last)).toEqual(numbersOf(whole));
    expect(last.optimizer).toEqual(whole.optimizer);
  });

  test('three ranks, which no power of two spreads, are equal to one process of three micro-batches', async () => {
    const alone = await trainRank(single(), { microBatches: 3 });
    for (const rank of await members(3, (group) => trainRank(group, { microBatches: 3 }))) {
      expect(numbersOf(rank)).toEqual(numbersOf(alone));
    }
  });

  test('bfloat16 on the wire: every rank has the same weights, near those of float32', async () => {
    const alone = await trainRank(single(), { microBatches: 2 });
    const ranks = await members(2, (group) => trainRank(group, { microBatches: 2, wire: 'bfloat16' }));
    expect(numbersOf(ranks[1]!)).toEqual(numbersOf(ranks[0]!));
    expect(ranks[0]!.weights).not.toEqual(alone.weights);
    const [got, expected] = [ranks[0]!.weights.a!, alone.weights.a!];
    // Gradients are off by 2^-9 of themselves; Adam's step of 0.02 by about as much, four times.
    for (const [i, x] of got.entries()) expect(Math.abs(x - expected[i]!)).toBeLessThan(4 * 0.02 * 2 ** -6);
  });

  test('a rank whose loss leaves a parameter out counts as zero', async () => {
    const loss: Parameters<typeof trainRank>[1]['loss'] = (input, net) =>
      input.batch % 2 === 0 ? lossOf(input, net) : (tf.square(tf.sum(net.b.value, 1)) as tf.Tensor1D); // of the second layer alone
    const alone = await trainRank(single(), { microBatches: 2, loss });
    const ranks = await members(2, (group) => trainRank(group, { microBatches: 2, loss }));
    for (const rank of ranks) expect(numbersOf(rank)).toEqual(numbersOf(alone));
  });

  test('a rank that is told to stop ends all after the same update', async () => {
    const controller = new AbortController();
    const ranks = await members(3, (group) =>
      trainRank(group, {
        microBatches: 3,
        until: 50,
        ...(group.rank === 1 && { signal: controller.signal }),
        loss: (input, net) => {
          if (input.step === 3 && group.rank === 1) controller.abort();
          return lossOf(input, net);
        },
      }),
    );
    expect(ranks.map(({ steps }) => steps.length)).toEqual([3, 3, 3]);
    expect(numbersOf(ranks[2]!)).toEqual(numbersOf(ranks[0]!));
  });

  test('a loss that is not finite on one rank ends all, and changes nothing', async () => {
    const before = tf.memory().numTensors;
    const told: string[] = [];
    await members(2, (group) =>
      trainRank(group, {
        microBatches: 2,
        loss: (input, net) => tf.mul(lossOf(input, net), input.step === 2 && group.rank === 1 ? Number.NaN : 1),
      }).catch((error: Error) => {
        told.push(error.message);
      }),
    );
    expect(told).toEqual(Array(2).fill(expect.stringMatching(/Update 2: the loss is NaN; nothing was changed/)));
    // The networks and optimizers of the runs that failed are the test's own to lose; gradients are not.
    expect(tf.memory().numTensors - before).toBeLessThanOrEqual(2 * 3 * 3);
  });
});
