import { switchTo, testEngines } from '@mezzotint/backend/testing';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs';
import type { Denoiser, NoiseLevel } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { classifierFree, classifierFreeBatched, classifierGuidance, guideVariance } from '../src/index.js';

const at: NoiseLevel = { alpha: 0.8, sigma: 0.6, time: 10 };
const shape: [number, number, number, number] = [2, 3, 2, 1];
const ramp = () => tf.reshape(tf.linspace(-1, 1, 12), shape) as tf.Tensor4D;

/** A denoiser whose answer depends on each row's label, so that mixed-up rows show. */
const byLabel: Denoiser<tf.Tensor1D> = (x, _, labels) =>
  tf.tidy(() => tf.mul(x, tf.reshape(tf.add(labels, 1), [-1, 1, 1, 1]))) as tf.Tensor4D;

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  describe('classifier-free guidance', () => {
    const labels = () => tf.tensor1d([3, 5], 'int32');
    const nulls = () => tf.tensor1d([0, 0], 'int32');
    // free + s (cond - free) = x (1 + s (label)): the rows scale by 1 + 2 * 3 and 1 + 2 * 5.
    const expected = () => Array.from(ramp().dataSync(), (v, i) => v * (i < 6 ? 7 : 11));

    test('two passes and one batched pass give free + scale (cond - free)', () => {
      const two = classifierFree(byLabel, { scale: 2, unconditional: nulls() })(ramp(), at, labels());
      const one = classifierFreeBatched(byLabel, {
        scale: 2,
        unconditional: nulls(),
        join: (a, b) => tf.concat([a, b]),
      })(ramp(), at, labels());
      for (const answer of [two, one]) {
        // Two float32 roundings of numbers below 12.
        Array.from(answer.dataSync()).forEach((v, i) => void expect(v).toBeCloseTo(expected()[i]!, 5));
        expect(answer.shape).toEqual(shape);
      }
    });

    test('scale 1 does not run the unconditional pass, scale 0 is unconditional', () => {
      let calls = 0;
      const counting: Denoiser<tf.Tensor1D> = (x, level, c) => {
        calls++;
        return byLabel(x, level, c);
      };
      classifierFree(counting, { scale: 1, unconditional: nulls() })(ramp(), at, labels());
      expect(calls).toBe(1);
      const zero = classifierFree(counting, { scale: 0, unconditional: nulls() })(ramp(), at, labels());
      expect(Array.from(zero.dataSync())).toEqual(Array.from(ramp().dataSync()));
    });

    test('leaves one tensor behind', () => {
      const [x, cond, unconditional] = [ramp(), labels(), nulls()];
      const before = tf.memory().numTensors;
      classifierFree(byLabel, { scale: 3, unconditional })(x, at, cond);
      classifierFreeBatched(byLabel, { scale: 3, unconditional, join: (a, b) => tf.concat([a, b]) })(x, at, cond);
      expect(tf.memory().numTensors - before).toBe(2);
    });
  });

  describe('classifier guidance', () => {
    test('adds scale sigma^2 / alpha times the gradient of log p', () => {
      // log p = -1/2 |x - m|^2 has the gradient m - x.
      const m = 0.25;
      const logProbability = (x: tf.Tensor4D) =>
        tf.mul(tf.sum(tf.square(tf.sub(x, m)), [1, 2, 3]), -0.5) as tf.Tensor1D;
      const zero: Denoiser<null> = (x) => tf.zerosLike(x);
      const answer = classifierGuidance(zero, { scale: 2, logProbability })(ramp(), at, null).dataSync();
      const x = ramp().dataSync();
      for (let i = 0; i < 12; i++) expect(answer[i]!).toBeCloseTo((2 * 0.36 * (m - x[i]!)) / 0.8, 5);
    });

    test('moves Gaussian data to its exact posterior', () => {
      // Data N(0, 1), class likelihood N(y; x0, 1): given x = alpha x0 + sigma eps with alpha^2 + sigma^2 = 1, E[x0|x] =
      // alpha x, y | x ~ N(alpha x, 1 + sigma^2), and E[x0 | x, y] = alpha x + sigma^2 (y - alpha x) / (1 + sigma^2).
      const y = 1.5;
      const exact: Denoiser<null> = (x, { alpha }) => tf.mul(x, alpha);
      const logProbability = (x: tf.Tensor4D) =>
        tf.div(tf.sum(tf.square(tf.sub(y, tf.mul(x, at.alpha))), [1, 2, 3]), -2 * (1 + at.sigma ** 2)) as tf.Tensor1D;
      const answer = classifierGuidance(exact, { scale: 1, logProbability })(ramp(), at, null).dataSync();
      const x = ramp().dataSync();
      for (let i = 0; i < 12; i++) {
        const mean = at.alpha * x[i]!;
        expect(answer[i]!).toBeCloseTo(mean + (at.sigma ** 2 * (y - mean)) / (1 + at.sigma ** 2), 5);
      }
    });

    test('refuses a level that holds nothing of x0', () => {
      const guided = classifierGuidance<null>((x) => tf.clone(x), {
        scale: 1,
        logProbability: (x) => tf.sum(x, [1, 2, 3]),
      });
      expect(() => guided(ramp(), { alpha: 0, sigma: 1 }, null)).toThrow(/alpha is 0/);
    });
  });

  test('guided learned variance keeps the conditional pass and leaks nothing', () => {
    const x = ramp();
    const labels = tf.tensor1d([3, 5], 'int32');
    const unconditional = tf.tensor1d([0, 0], 'int32');
    const learned = (noisy: tf.Tensor4D, _: NoiseLevel, c: tf.Tensor1D) => ({
      x0: byLabel(noisy, at, c),
      interpolation: tf.tidy(() => tf.mul(tf.onesLike(noisy), tf.reshape(c, [-1, 1, 1, 1]))) as tf.Tensor4D,
    });
    const before = tf.memory().numTensors;
    for (const guide of [
      (d: Denoiser<tf.Tensor1D>) => classifierFree(d, { scale: 2, unconditional }),
      (d: Denoiser<tf.Tensor1D>) =>
        classifierFreeBatched(d, { scale: 2, unconditional, join: (a, b) => tf.concat([a, b]) }),
    ]) {
      const { x0, interpolation } = guideVariance(learned, guide)(x, at, labels);
      expect(Array.from(interpolation.dataSync())).toEqual([3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5]);
      expect(x0.shape).toEqual(shape);
      tf.dispose([x0, interpolation]);
    }
    // The first steps of CFG-Zero* ask the network nothing: the variance is that of a plain pass.
    const nothing = guideVariance(learned, () => (noisy) => tf.zerosLike(noisy))(x, at, labels);
    expect(Array.from(nothing.interpolation.dataSync())).toEqual([3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5]);
    expect(Array.from(nothing.x0.dataSync())).toEqual(Array(12).fill(0));
    tf.dispose([nothing.x0, nothing.interpolation]);
    expect(tf.memory().numTensors).toBe(before);
  });
});
