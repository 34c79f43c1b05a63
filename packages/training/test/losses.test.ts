import { switchTo, testEngines } from '@mezzotint/backend/testing';
import '@tensorflow/tfjs';
import { readFileSync } from 'node:fs';
import { InvalidArgumentError, type NoiseLevel, type RandomStream, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  edmLoss,
  epsLoss,
  hybridLoss,
  logNormalSigmas,
  minSnr,
  type NetworkFunction,
  noiseLevels,
  stratified,
  uniformTimesteps,
  vLoss,
  vlbTerm,
  x0Loss,
} from '../src/index.js';
import { processOf } from './tiny-model.js';

/** The mean of one number an example. */
const mean = (losses: tf.Tensor1D) => Array.from(losses.dataSync()).reduce((sum, loss) => sum + loss, 0) / losses.size;

const process = processOf([0.95, 0.8, 0.5, 0.2, 0.05]);
const levels = noiseLevels(uniformTimesteps(process), stratified);
const STD = 0.5;
/** 64 images of 256 numbers from N(0, STD^2). */
const gaussian = () =>
  tf.tensor4d(
    new TorchGenerator(3).randn(64 * 256).map((x) => STD * x),
    [64, 16, 16, 1],
  );

/** A linear network with its own factor at each time index. */
const linear =
  (factor: (level: NoiseLevel) => number): NetworkFunction =>
  (x, time) => {
    const factors = Array.from(time.dataSync(), (t) => factor({ alpha: process.alpha[t]!, sigma: process.sigma[t]! }));
    return tf.mul(x, tf.tensor4d(factors, [factors.length, 1, 1, 1]));
  };

// Of Gaussian data with standard deviation s the posterior mean is linear: E[x0 | x] = alpha s^2 / V x, V = alpha^2 s^2 + sigma^2,
// with error s^2 sigma^2 / V; eps = (x - alpha x0) / sigma and v = (alpha x - x0) / sigma for alpha^2 + sigma^2 = 1.
const total = ({ alpha, sigma }: NoiseLevel) => alpha ** 2 * STD ** 2 + sigma ** 2;
const x0Factor = (level: NoiseLevel) => (level.alpha * STD ** 2) / total(level);
const cases = {
  x0: { loss: x0Loss, factor: x0Factor, floor: (l: NoiseLevel) => (STD * l.sigma) ** 2 / total(l) },
  eps: {
    loss: epsLoss,
    factor: (l: NoiseLevel) => (1 - l.alpha * x0Factor(l)) / l.sigma,
    floor: (l: NoiseLevel) => (STD * l.alpha) ** 2 / total(l),
  },
  v: {
    loss: vLoss,
    factor: (l: NoiseLevel) => (l.alpha - x0Factor(l)) / l.sigma,
    floor: (l: NoiseLevel) => STD ** 2 / total(l),
  },
};

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  describe.each(Object.entries(cases))('%sLoss', (name, { loss, factor, floor }) => {
    const batchFloor = (weight: (level: NoiseLevel) => number) => {
      const drawn = levels(64, new TorchGenerator(1));
      return drawn.reduce((sum, level) => sum + weight(level) * floor(level), 0) / drawn.length;
    };
    const value = (net: NetworkFunction, weight?: (level: NoiseLevel) => number) => {
      const x0 = gaussian();
      const options = weight === undefined ? { levels } : { levels, weight };
      const scalar = loss(net, { x0, cond: undefined }, new TorchGenerator(1), options);
      const number = mean(scalar);
      tf.dispose([x0, scalar]);
      return number;
    };

    test('of the optimal denoiser of Gaussian data is the analytic floor, and more for others', () => {
      // A mean of 16,384 squares of normals is within 1.1 % (one standard deviation); four of them.
      const best = value(linear(factor));
      expect(Math.abs(best / batchFloor(() => 1) - 1)).toBeLessThan(0.045);
      // The minimum is flat, but the data of the test are the same for all three.
      expect(value(linear((l) => 1.1 * factor(l)))).toBeGreaterThan(best);
      expect(value(linear((l) => 0.9 * factor(l) - 0.02))).toBeGreaterThan(best);
    });

    test('counts each example by its weight', () => {
      const weight = minSnr(5)[name as keyof ReturnType<typeof minSnr>];
      expect(Math.abs(value(linear(factor), weight) / batchFloor(weight) - 1)).toBeLessThan(0.06);
    });

    test('leaves no tensor', () => {
      const before = tf.memory().numTensors;
      value(linear(factor));
      expect(tf.memory().numTensors).toBe(before);
    });
  });

  test('min-SNR weights are one weight of the x0 error, and stay finite at the ends', () => {
    const w = minSnr(5);
    for (const sigma of [0.01, 0.3, 0.7, 0.999]) {
      const level = { alpha: Math.sqrt(1 - sigma ** 2), sigma };
      const snr = (level.alpha / sigma) ** 2;
      expect(w.x0(level)).toBeCloseTo(Math.min(snr, 5), 10);
      expect(w.eps(level) * snr).toBeCloseTo(Math.min(snr, 5), 10);
      expect(w.v(level) * (snr + 1)).toBeCloseTo(Math.min(snr, 5), 10);
    }
    const ends = [
      { alpha: 0, sigma: 1 },
      { alpha: 1, sigma: 0 },
    ];
    expect(ends.map(w.eps)).toEqual([1, 0]);
    expect(ends.map(w.x0)).toEqual([0, 5]);
    expect(ends.map(w.v)).toEqual([0, 0]);
  });

  describe('edmLoss', () => {
    const sigmas = noiseLevels(logNormalSigmas(), stratified);
    test('of the optimal denoiser is 1 when the data have sigmaData', () => {
      // lambda(sigma) s^2 sigma^2 / (s^2 + sigma^2) = 1 at every sigma: what the weighting is made for. The optimal F is 0.
      const x0 = gaussian();
      const value = edmLoss((x) => tf.zerosLike(x), { x0, cond: undefined }, new TorchGenerator(1), { levels: sigmas });
      expect(Math.abs(mean(value) - 1)).toBeLessThan(0.045);
    });

    test('is lambda ||D - x0||^2 as the paper writes it', () => {
      const x0 = gaussian();
      const net: NetworkFunction = (x, time) => tf.add(tf.mul(x, 0.3), tf.reshape(time, [-1, 1, 1, 1]));
      const value = edmLoss(net, { x0, cond: undefined }, new TorchGenerator(1), { levels: sigmas, sigmaData: 0.7 });
      const rng = new TorchGenerator(1);
      const drawn = sigmas(64, rng).map((level) => level.sigma);
      const noise = rng.randn(64 * 256);
      const d2 = 0.7 ** 2;
      let sum = 0;
      x0.dataSync().forEach((clean, i) => {
        const s = drawn[Math.floor(i / 256)]!;
        const x = clean + s * noise[i]!;
        const f = (0.3 * x) / Math.sqrt(s * s + d2) + Math.log(s) / 4;
        const d = (d2 / (s * s + d2)) * x + ((s * 0.7) / Math.sqrt(s * s + d2)) * f;
        sum += ((s * s + d2) / (s * 0.7) ** 2) * (d - clean) ** 2;
      });
      // Float32 against float64 over 16,384 terms of one sign.
      expect(mean(value) / (sum / (64 * 256))).toBeCloseTo(1, 5);
    });

    test('with an uncertainty u is L / e^u + u of each example, least where u = ln L', () => {
      const x0 = gaussian();
      const batch = { x0, cond: undefined };
      const of = (logVariance?: (noise: tf.Tensor1D) => tf.Tensor1D) =>
        edmLoss((x) => tf.mul(x, 0.3), batch, new TorchGenerator(1), {
          levels: sigmas,
          ...(logVariance && { logVariance }),
        }).dataSync();
      const plain = of();
      const weighted = of((noise) => tf.mul(noise, 2));
      const drawn = sigmas(64, new TorchGenerator(1)).map((level) => level.sigma);
      plain.forEach((loss, i) => {
        const u = Math.log(drawn[i]!) / 2;
        expect(Math.abs(weighted[i]! / (loss / Math.exp(u) + u) - 1)).toBeLessThan(1e-4);
      });
      // d/du (L e^-u + u) = 0 at u = ln L.
      const best = of(() => tf.log(tf.tensor1d(plain)));
      const sum = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b);
      for (const shift of [-0.1, 0.1]) {
        expect(sum(of(() => tf.add(tf.log(tf.tensor1d(plain)), shift)))).toBeGreaterThan(sum(best));
      }
    });
  });

  describe('hybridLoss', () => {
    const fixture = JSON.parse(readFileSync(new URL('fixtures/hybrid.json', import.meta.url), 'utf8')) as {
      betas: number[];
      shape: [number, number, number, number];
      vlbBitsPerDim: number[];
      hybrid: number;
      gradient: number[];
    };
    const [n, h, w, c] = fixture.shape;
    const formula = (size: number, f: (i: number) => number) => Float32Array.from({ length: size }, (_, i) => f(i));
    const x0Values = formula(n * h * w * c, (i) => Math.max(-1, Math.min(1, 1.3 * Math.sin(0.9 * i))));
    const noise = formula(n * h * w * c, (i) => 1.2 * Math.cos(1.7 * i + 0.3));
    const answer = formula(n * h * w * 2 * c, (i) => Math.sin(0.37 * i + 1));
    let product = 1;
    const chain = processOf(fixture.betas.map((beta) => (product *= 1 - beta)));
    const rng: RandomStream = { randn: () => noise, rand: () => new Float32Array(0) };
    /** Example i at step i. */
    const uniforms = (count: number) => Float64Array.from({ length: count }, (_, i) => (i + 0.5) / count);
    const loss = (output: tf.Tensor4D) =>
      hybridLoss(() => output, { x0: tf.tensor4d(x0Values, fixture.shape), cond: undefined }, rng, {
        process: chain,
        uniforms,
      });

    test('and its gradient equal a float64 evaluation of the equations', () => {
      const output = tf.tensor4d(answer, [n, h, w, 2 * c]);
      const { value, grad } = tf.valueAndGrad((x: tf.Tensor) => tf.mean(loss(x as tf.Tensor4D)))(output);
      // Float32: the terms are of order 1; the sharpest Gaussian multiplies rounding by 1 / std, about 6.
      expect(value.dataSync()[0]).toBeCloseTo(fixture.hybrid, 5);
      grad.dataSync().forEach((g, i) => {
        expect(Math.abs(g - fixture.gradient[i]!)).toBeLessThan(1e-6);
      });
    });

    test('has the terms of the bound in bits a dimension, the likelihood of 8-bit pixels at t = 0', () => {
      const x0 = tf.tensor4d(x0Values, fixture.shape);
      const steps = Array.from({ length: n }, (_, i) => i);
      const column = (f: (t: number) => number) => tf.tensor4d(steps.map(f), [n, 1, 1, 1]);
      const noisy = tf.add<tf.Tensor4D>(
        tf.mul(
          column((t) => chain.alpha[t]!),
          x0,
        ),
        tf.mul(
          column((t) => chain.sigma[t]!),
          tf.tensor4d(noise, fixture.shape),
        ),
      );
      const [eps, share] = tf.split(tf.tensor4d(answer, [n, h, w, 2 * c]), 2, 3) as [tf.Tensor4D, tf.Tensor4D];
      const term = tf.mean(vlbTerm(x0, noisy, eps, share, steps, chain), [1, 2, 3]);
      term.dataSync().forEach((bits, i) => {
        expect(bits / fixture.vlbBitsPerDim[i]!).toBeCloseTo(1, 4);
      });
    });

    test('a network without variance channels, and a process that ends in pure noise, are refused', () => {
      const output = tf.tensor4d(answer, [n, h, w * 2, c]);
      expect(() => loss(output)).toThrow(/must answer 4 channels .* got 2/);
      const ended = { process: { alpha: [0.5, 0], sigma: [Math.sqrt(0.75), 1] } };
      const x0 = tf.zeros([1, 2, 2, 1]) as tf.Tensor4D;
      expect(() => hybridLoss((x) => x, { x0, cond: undefined }, rng, ended)).toThrow(InvalidArgumentError);
    });
  });
});
