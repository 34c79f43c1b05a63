import { switchTo, testEngines } from '@mezzotint/backend/testing';
import '@tensorflow/tfjs';
import { InvalidArgumentError, MezzotintError, type RandomStream, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  adamW,
  constantDecay,
  constantRate,
  ema,
  epsLoss,
  noiseLevels,
  type TrainOptions,
  type TrainStep,
  train,
  uniformTimesteps,
  valueAndGradients,
  warmUp,
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
    model,
    loss: lossOf(model),
    data: fixedData(),
    rng: new TorchGenerator(2),
    optimizer: adamW(model),
    learningRate: constantRate(0.001),
  };
}

function lossOf(model: TinyNet) {
  return ({ images, count }: Batch, rng: RandomStream) =>
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
      model,
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
      const loss = (from: number) => {
        const part = (all: Float32Array) => tf.tensor4d(all.slice(from * 16, (from + size) * 16), [size, 4, 4, 1]);
        const answer = model.forward(part(images), tf.zeros([size]));
        return tf.mean(tf.squaredDifference(answer, part(targets))) as tf.Scalar;
      };
      const steps = await collect({
        model,
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
      averages: [average],
      accumulation: 2,
      afterUpdate: () => {
        updates++;
        if (updates === 3) abort.abort();
      },
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
      loss: (batch: Batch, rng: RandomStream) =>
        tf.mul<tf.Scalar>(lossOf(model)(batch, rng), ++calls === 2 ? Number.NaN : 1),
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
});
