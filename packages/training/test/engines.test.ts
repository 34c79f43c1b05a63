import { readFileSync } from 'node:fs';
import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type RandomStream, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  adamW,
  constantRate,
  ema,
  epsLoss,
  hybridLoss,
  type LossInput,
  noiseLevels,
  ratioWarmUp,
  train,
  uniformTimesteps,
} from '../src/index.js';
import { processOf, TinyNet } from './tiny-model.js';

const fixture = JSON.parse(readFileSync(new URL('fixtures/hybrid.json', import.meta.url), 'utf8')) as {
  betas: number[];
  shape: [number, number, number, number];
  hybrid: number;
  gradient: number[];
};
const formula = (size: number, f: (i: number) => number) => Float32Array.from({ length: size }, (_, i) => f(i));

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('the hybrid loss and its gradient are those of the equations', () => {
    const [n, h, w, c] = fixture.shape;
    const rng: RandomStream = {
      randn: (size) => formula(size, (i) => 1.2 * Math.cos(1.7 * i + 0.3)),
      rand: () => new Float32Array(0),
    };
    let product = 1;
    const process = processOf(
      fixture.betas.map((beta) => {
        product *= 1 - beta;
        return product;
      }),
    );
    const uniforms = (count: number) => Float64Array.from({ length: count }, (_, i) => (i + 0.5) / count);
    const x0 = tf.tensor4d(
      formula(n * h * w * c, (i) => Math.max(-1, Math.min(1, 1.3 * Math.sin(0.9 * i)))),
      fixture.shape,
    );
    const output = tf.tensor4d(
      formula(n * h * w * 2 * c, (i) => Math.sin(0.37 * i + 1)),
      [n, h, w, 2 * c],
    );
    const { value, grad } = tf.valueAndGrad((x: tf.Tensor) =>
      tf.mean(hybridLoss(() => x as tf.Tensor4D, { x0, cond: undefined }, rng, { process, uniforms })),
    )(output);
    // Engines sum and take exp and tanh in their own ways: a few float32 roundings of terms of order 1 more than cpu.
    expect(value.dataSync()[0]).toBeCloseTo(fixture.hybrid, 4);
    grad.dataSync().forEach((g, i) => {
      expect(Math.abs(g - fixture.gradient[i]!)).toBeLessThan(5e-6);
    });
    tf.dispose([x0, output, value, grad]);
  });

  test('a training on the host and one on the device end alike, and leave no tensor', async () => {
    const run = async (onHost: boolean) => {
      const model = new TinyNet().init(1);
      const place = onHost ? 'host' : 'device';
      const optimizer = adamW(model, { place });
      const average = ema(model, ratioWarmUp(), { place });
      const images = new TorchGenerator(5).randn(4 * 16);
      const levels = noiseLevels(uniformTimesteps(processOf([0.9, 0.5, 0.1])));
      const steps = train({
        loss: ({ batch, rng }: LossInput<Float32Array>) => {
          const x0 = tf.tensor4d(batch, [4, 4, 4, 1]);
          return epsLoss((x, time) => model.forward(x, time), { x0, cond: undefined }, rng, { levels });
        },
        data: { next: async () => images },
        rng: new TorchGenerator(2),
        optimizer,
        learningRate: constantRate(0.01),
        averages: { ema: average },
        accumulation: 2,
        maxGradientNorm: 0.5,
        until: 4,
      });
      for await (const { loss } of steps) expect(loss).toBeGreaterThan(0);
      const weights = await model.save();
      const averages = (await average.save()).tensors;
      for (const owner of [model, optimizer, average]) owner.dispose();
      return [weights, averages];
    };
    const before = tf.memory().numTensors;
    const [host, device] = [await run(true), await run(false)];
    expect(tf.memory().numTensors).toBe(before);
    host.forEach((state, k) => {
      for (const [name, { data }] of Object.entries(state)) {
        data.forEach((x, i) => {
          // Adam's first steps divide a gradient by its own size: its relative rounding, about 1e-5, times the rate, four times.
          expect(Math.abs(x - device[k]![name]!.data[i]!)).toBeLessThan(1e-5);
        });
      }
    });
  });
});
