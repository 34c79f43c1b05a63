import { switchTo, testEngines } from '@mezzotint/backend/testing';
import '@tensorflow/tfjs';
import { type HostTensor, InvalidArgumentError, MezzotintError, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  adamW,
  type Contribution,
  constantDecay,
  constantRate,
  ema,
  epsLoss,
  type HookInput,
  type LossInput,
  matchesPattern,
  noiseLevels,
  type TrainOptions,
  type TrainStep,
  train,
  trainableParams,
  uniformTimesteps,
  valueAndGradients,
  warmUp,
  withoutGradient,
} from '../src/index.js';
import { processOf, TinyNet } from './tiny-model.js';

const levels = noiseLevels(uniformTimesteps(processOf([0.9, 0.7, 0.5, 0.3, 0.1])));

/** Four 4x4 images, the same at every step. */
function fixedData() {
  const images = new TorchGenerator(5).randn(4 * 16).map((x) => 0.5 * Math.tanh(x));
  let calls = 0;
  return {
    next: async () => {
      calls++;
      return { images, count: 4 };
    },
    calls: () => calls,
  };
}

type Batch = { images: Float32Array; count: number };

/** What most runs train by. */
function plain(model: TinyNet) {
  return {
    loss: lossOf(model),
    data: fixedData(),
    rng: new TorchGenerator(2),
    optimizer: adamW(model),
    learningRate: constantRate(0.001),
  };
}

function lossOf(model: TinyNet) {
  return ({ batch: { images, count }, rng }: LossInput<Batch>) =>
    epsLoss((x, time) => model.forward(x, time), { x0: tf.tensor4d(images, [count, 4, 4, 1]), cond: undefined }, rng, {
      levels,
    });
}

async function collect<B>(options: TrainOptions<B>): Promise<TrainStep[]> {
  const steps: TrainStep[] = [];
  for await (const step of train(options)) steps.push(step);
  return steps;
}

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('a tiny network learns to tell the noise of four images', async () => {
    const model = new TinyNet(8).init(1);
    const optimizer = adamW(model);
    const steps = await collect({
      loss: lossOf(model),
      data: fixedData(),
      rng: new TorchGenerator(2),
      optimizer,
      learningRate: warmUp(10, constantRate(0.02)),
      maxGradientNorm: 1,
      until: 250,
    });
    const mean = (from: number, to: number) =>
      steps.slice(from, to).reduce((sum, { loss }) => sum + loss, 0) / (to - from);
    // Predicting 0 costs 1; x_t alone tells much of eps at the noisy levels, so a working optimizer gets far below.
    expect(mean(0, 5)).toBeGreaterThan(0.9);
    expect(mean(200, 250)).toBeLessThan(0.55);
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 250 }, (_, i) => i + 1));
    expect(steps[4]!.learningRate).toBeCloseTo(0.01, 12);
    expect(steps[0]!.seconds).toBeGreaterThan(0);
  });

  test('the mean of micro-batches is the large batch', async () => {
    // A loss without noise, so that the halves see what the whole sees; float32 sums in another order differ by rounding.
    const images = new TorchGenerator(5).randn(8 * 16);
    const targets = new TorchGenerator(6).randn(8 * 16);
    const run = async (size: number, accumulation: number) => {
      const model = new TinyNet().init(1);
      let at = 0;
      const data = {
        next: async () => {
          const from = at;
          at = (at + size) % 8;
          return from;
        },
      };
      const loss = ({ batch: from }: LossInput<number>) => {
        const part = (all: Float32Array) => tf.tensor4d(all.slice(from * 16, (from + size) * 16), [size, 4, 4, 1]);
        const answer = model.forward(part(images), tf.zeros([size]));
        return tf.mean(tf.squaredDifference(answer, part(targets))) as tf.Scalar;
      };
      const steps = await collect({
        loss,
        data,
        rng: new TorchGenerator(0),
        optimizer: adamW(model, { epsilon: 1e-3 }),
        learningRate: constantRate(0.01),
        accumulation,
        maxGradientNorm: 0.5,
        until: 5,
      });
      return { steps, weights: await model.save() };
    };
    const whole = await run(8, 1);
    const parts = await run(2, 4);
    for (const [i, { loss, gradientNorm }] of whole.steps.entries()) {
      expect(parts.steps[i]!.loss).toBeCloseTo(loss, 5);
      expect(parts.steps[i]!.gradientNorm).toBeCloseTo(gradientNorm, 5);
    }
    for (const [name, { data }] of Object.entries(whole.weights)) {
      data.forEach((x, i) => {
        expect(parts.weights[name]!.data[i]).toBeCloseTo(x, 5);
      });
    }
  });

  test('stops after the update under way when the signal aborts, with data and stream at the same update', async () => {
    const model = new TinyNet().init(1);
    const data = fixedData();
    const abort = new AbortController();
    const average = ema(model, constantDecay(0.5));
    let updates = 0;
    const options = {
      ...plain(model),
      data,
      averages: { ema: average },
      accumulation: 2,
      hooks: [
        {
          afterUpdate: () => {
            updates++;
            if (updates === 3) abort.abort();
          },
        },
      ],
      from: 10,
      until: 100,
      signal: abort.signal,
    };
    const steps = await collect(options);
    expect(steps.map(({ step }) => step)).toEqual([11, 12, 13]);
    expect(data.calls()).toBe(6);
    expect((await average.save()).updates).toBe(3);
    expect(await collect(options)).toEqual([]);
  });

  test('the event loop turns between updates', async () => {
    const model = new TinyNet().init(1);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    for await (const { step } of train({
      ...plain(model),
      until: 5,
    })) {
      expect(turns).toBeGreaterThanOrEqual(step - 1);
    }
    clearInterval(timer);
    expect(turns).toBeGreaterThan(2);
  });

  test('makes no tensor that stays', async () => {
    const model = new TinyNet().init(1);
    const options = {
      ...plain(model),
      accumulation: 2,
    };
    await collect({ ...options, until: 1 });
    const before = tf.memory().numTensors;
    await collect({ ...options, from: 1, until: 4 });
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a loss that is not finite ends the training, changes nothing and leaves no tensor', async () => {
    const model = new TinyNet().init(1);
    let calls = 0;
    const options = {
      ...plain(model),
      loss: (input: LossInput<Batch>) => tf.mul<tf.Tensor1D>(lossOf(model)(input), ++calls === 2 ? Number.NaN : 1),
      accumulation: 2,
      until: 3,
    };
    const before = tf.memory().numTensors;
    const weights = await model.save();
    await expect(collect(options)).rejects.toThrow(/Update 1: the loss is NaN/);
    expect(await model.save()).toEqual(weights);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a loss that does not use the model says so', () => {
    const model = new TinyNet().init(1);
    expect(() => valueAndGradients(model.params(), () => tf.scalar(1))).toThrow(MezzotintError);
    expect(() => valueAndGradients(model.params(), () => tf.scalar(1))).toThrow(/does not depend/);
  });

  test('numbers out of range are refused together', async () => {
    const model = new TinyNet().init(1);
    const options = {
      ...plain(model),
      until: -1,
      accumulation: 0,
      maxGradientNorm: 0,
    };
    await expect(collect(options)).rejects.toThrow(InvalidArgumentError);
    await expect(collect(options)).rejects.toThrow(/accumulation.*got 0\n.*until.*got -1\n.*maxGradientNorm.*got 0/);
  });

  test('hooks come in their order, with the one count of steps, and may change gradients', async () => {
    const model = new TinyNet().init(1);
    const seen: string[] = [];
    const average = ema(model, constantDecay(0.5));
    const update = average.update.bind(average);
    average.update = () => {
      seen.push('average');
      update();
    };
    const before = await model.save();
    const hook = (name: string) => (at: HookInput) => void seen.push(`${name} ${at.step} ${at.learningRate}`);
    await collect({
      ...plain(model),
      loss: (input: LossInput<Batch>) => {
        seen.push(`loss ${input.step}`);
        return lossOf(model)(input);
      },
      averages: { ema: average },
      hooks: [
        {
          beforeForward: hook('forward'),
          beforeUpdate: ({ gradients }) => {
            for (const [path, gradient] of gradients) {
              gradients.set(path, tf.zerosLike(gradient));
              gradient.dispose();
            }
            seen.push('update');
          },
          afterUpdate: hook('updated'),
          afterAverages: hook('averaged'),
        },
      ],
      optimizer: adamW(model, { weightDecay: 0 }),
      from: 4,
      until: 5,
    });
    expect(seen).toEqual(['forward 5 0.001', 'loss 5', 'update', 'updated 5 0.001', 'average', 'averaged 5 0.001']);
    expect(await model.save()).toEqual(before); // zero gradients move nothing
  });

  test('an encoder learns from the loss of the model, at its own rate and from its own start', async () => {
    const model = new TinyNet().init(1);
    const encoder = new TinyNet(2).init(2);
    const [model0, encoder0] = [await model.save(), await encoder.save()];
    const loss = ({ batch: { images, count } }: LossInput<Batch>) => {
      const x = tf.tensor4d(images, [count, 4, 4, 1]);
      const answer = model.forward(encoder.forward(x, tf.zeros([count])), tf.zeros([count]));
      return tf.mean(tf.square(answer), [1, 2, 3]) as tf.Tensor1D;
    };
    const options = {
      ...plain(model),
      loss,
      auxiliary: {
        encoder: { optimizer: adamW(encoder, { weightDecay: 0 }), learningRate: constantRate(0.01), start: 1 },
      },
    };
    await collect({ ...options, until: 1 });
    expect(await encoder.save()).toEqual(encoder0);
    await collect({ ...options, from: 1, until: 2 });
    const moved = (before: Record<string, HostTensor>, after: Record<string, HostTensor>) =>
      Math.max(...before.outWeight!.data.map((x, i) => Math.abs(after.outWeight!.data[i]! - x)));
    // Adam's first step is the rate for every weight.
    expect(moved(encoder0, await encoder.save())).toBeCloseTo(0.01, 4);
    expect(moved(model0, await model.save())).toBeLessThan(0.0021);
  });

  test('an adversary sees the batches of the model after its update, and logs its own loss and terms', async () => {
    const model = new TinyNet().init(1);
    const critic = new TinyNet(2).init(2);
    let at = 0;
    const seen: { who: string; batch: number; weight: number }[] = [];
    const weight = () => model.outWeight.value.dataSync()[0]!;
    const run =
      (who: string, net: TinyNet) =>
      ({ batch, observe }: LossInput<number>) => {
        seen.push({ who, batch, weight: weight() });
        const losses = tf.mean(net.forward(tf.fill([2, 4, 4, 1], batch), tf.zeros([2])), [1, 2, 3]) as tf.Tensor1D;
        observe('twice', tf.mul(losses, 2));
        return losses;
      };
    const before = tf.memory().numTensors;
    const optimizers = [adamW(model), adamW(critic)] as const;
    const steps: TrainStep[] = [];
    const options = {
      loss: run('model', model),
      data: { next: async () => ++at },
      rng: new TorchGenerator(0),
      optimizer: optimizers[0],
      learningRate: constantRate(0.01),
      auxiliary: { critic: { optimizer: optimizers[1], loss: run('critic', critic), start: 1 } },
      accumulation: 2,
      until: 2,
    };
    for await (const step of train(options)) steps.push(step);
    expect(seen.map(({ who, batch }) => `${who} ${batch}`)).toEqual([
      'model 1',
      'model 2',
      'model 3',
      'model 4',
      'critic 3',
      'critic 4',
    ]);
    expect(seen[4]!.weight).not.toBe(seen[3]!.weight);
    expect(steps[0]!.auxiliary).toEqual({});
    expect(steps[1]!.auxiliary.critic!.observed.twice).toBeCloseTo(2 * steps[1]!.auxiliary.critic!.loss, 5);
    expect(steps[1]!.observed.twice).toBeCloseTo(2 * steps[1]!.loss, 5);
    for (const optimizer of optimizers) optimizer.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test('two processes that exchange their gradients do what one does with both batches, and meet when one fails', async () => {
    const loss =
      (net: TinyNet) =>
      ({ batch }: LossInput<number>) =>
        tf.mean(
          tf.square(tf.sub(net.forward(tf.fill([2, 4, 4, 1], batch), tf.zeros([2])), 1)),
          [1, 2, 3],
        ) as tf.Tensor1D;
    const base = () => ({ rng: new TorchGenerator(0), learningRate: constantRate(0.01), until: 3 });
    const alone = new TinyNet().init(1);
    let at = 0;
    await collect({
      ...base(),
      loss: loss(alone),
      data: { next: async () => ++at },
      optimizer: adamW(alone, { epsilon: 1e-3 }),
      accumulation: 2,
    });
    // The other process is played by the same network on the other batch.
    const one = new TinyNet().init(1);
    let turn = 0;
    const optimizer = adamW(one, { epsilon: 1e-3 });
    const exchange = async ({ network, gradients, losses, observed }: Contribution) => {
      const other = valueAndGradients(optimizer.params, () =>
        loss(one)({ batch: 2 * turn, rng: new TorchGenerator(0), step: 1, observe: () => undefined }),
      );
      const both = new Map([...gradients].map(([path, g]) => [path, tf.add(g, other.gradients.get(path)!)]));
      const theirs = other.value.dataSync()[0]!;
      tf.dispose([other.value, ...other.gradients.values(), ...gradients.values()]);
      return { network, gradients: both, losses: [...losses, theirs], observed: [...observed, {}] };
    };
    const data = { next: async () => 2 * ++turn - 1 };
    await collect({ ...base(), loss: loss(one), data, optimizer, exchange });
    const [expected, got] = [await alone.save(), await one.save()];
    for (const [name, { data }] of Object.entries(expected)) {
      data.forEach((x, i) => {
        expect(got[name]!.data[i]).toBeCloseTo(x, 5);
      });
    }
    let met = 0;
    const nan = {
      ...base(),
      data,
      optimizer,
      loss: () =>
        tf.mul<tf.Tensor1D>(
          loss(one)({ batch: 1, rng: new TorchGenerator(0), step: 1, observe: () => undefined }),
          Number.NaN,
        ),
    };
    const meet = async (mine: Contribution) => {
      met++;
      return mine;
    };
    await expect(collect({ ...nan, exchange: meet })).rejects.toThrow(/the loss is NaN/);
    expect(met).toBe(1);
  });

  test('frozen parameters stay, and snapshots are due at their cadence', async () => {
    const model = new TinyNet().init(1);
    const before = await model.save();
    const optimizer = adamW(trainableParams(model, { freeze: ['in*'] }));
    const steps = await collect({ ...plain(model), optimizer, snapshotEvery: 2, from: 1, until: 4 });
    const after = await model.save();
    const same = Object.keys(before).filter((name) => String(before[name]!.data) === String(after[name]!.data));
    expect(same).toEqual(['inWeight', 'inBias', 'buffer']);
    expect(steps.map(({ snapshot }) => snapshot)).toEqual([true, false, true]);
    expect(() => trainableParams(model, { freeze: ['nothing*'] })).toThrow(/'nothing\*' fits no parameter/);
    expect(() => trainableParams(model, { freeze: ['*'] })).toThrow(/every parameter is frozen/);
  });

  test('what runs without gradient gives its value and no gradient', () => {
    const model = new TinyNet().init(1);
    const factor = model.timeWeight;
    const { value, gradients } = valueAndGradients(new Map([['w', factor]]), () => {
      const frozen = withoutGradient(() => tf.mul(factor.value, 3));
      return tf.sum(tf.mul(frozen, factor.value)) as tf.Scalar;
    });
    // d(3 w_frozen w) = 3 w_frozen, not 6 w.
    const w = factor.value.dataSync();
    gradients
      .get('w')!
      .dataSync()
      .forEach((g, i) => {
        expect(g).toBeCloseTo(3 * w[i]!, 5);
      });
    tf.dispose([value, ...gradients.values()]);
  });

  test('a pattern fits whole keys, with stars for any text', () => {
    expect(matchesPattern('blocks.0.attn.qkv.weight', 'blocks.*.attn.*')).toBe(true);
    expect(matchesPattern('blocks.0.attn.qkv.weight', '*.weight')).toBe(true);
    expect(matchesPattern('blocks.0.attn.qkv.weight', 'attn*')).toBe(false);
    expect(matchesPattern('aba', 'ab*ba')).toBe(false);
  });
});
