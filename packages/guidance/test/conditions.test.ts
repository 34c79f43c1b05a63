import { switchTo, testEngines } from '@mezzotint/backend/testing';
import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  autoguidance,
  awayFrom,
  classifierFree,
  clipGuidance,
  composed,
  directEstimateGuidance,
  distilledGuidance,
  estimateGuidance,
  perpNeg,
  regional,
  sphericalDistance,
  together,
} from '../src/index.js';
import { at, expectClose } from './engine.js';

const values = (x: tf.Tensor) => x.dataSync();
const row = (...numbers: number[]) => tf.tensor4d(numbers, [1, 1, 1, numbers.length]);
const x = () => row(0.5, -1, 2);
/** Says what it is conditioned on: a row of three numbers. */
const echo: Denoiser<readonly number[]> = (_, __, cond) => row(...cond);
const zero = [0, 0, 0];

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  describe('several conditions', () => {
    test('Perp-Neg takes away only what is perpendicular to the wanted', () => {
      const guidance = perpNeg(echo, {
        scale: 2,
        unconditional: zero,
        negatives: [
          { cond: [3, 4, 0], weight: 0.5 }, // (3, 0, 0) lies along the wanted (1, 0, 0); (0, 4, 0) is perpendicular
          { cond: [-1, 0, 1], weight: 1 },
        ],
      });
      expectClose(values(guidance(x(), at, [1, 0, 0])), [2, -4, -2], 1e-6);
    });

    test('composition adds each condition at its scale and place', () => {
      const guidance = composed(echo, [1, 1, 1]);
      const parts = [
        { cond: [3, 1, 1], scale: 2 },
        { cond: [1, 5, 5], scale: () => 0.5, mask: row(1, 1, 0) },
        { cond: [1, 1, 2], scale: -1 },
      ];
      expectClose(values(guidance(x(), at, parts)), [1 + 2 * 2, 1 + 0.5 * 4, 1 - 1], 1e-6);
    });

    test('regions are weighted by their masks', () => {
      const guidance = regional(echo);
      const regions = [
        { cond: [1, 1, 1], mask: row(1, 0, 1) },
        { cond: [5, 5, 5], mask: row(0, 2, 3) },
      ];
      expectClose(values(guidance(x(), at, regions)), [1, 5, 4], 1e-6);
      expect(() => guidance(x(), at, [])).toThrow(/at least one region/);
    });

    test('distilled guidance gives the network its scale, once for each image', () => {
      const seen: number[][] = [];
      const network: Denoiser<{ label: string; guidance: tf.Tensor1D }> = (noisy, _, { label, guidance }) => {
        seen.push([...guidance.dataSync()]);
        expect(label).toBe('cat');
        return tf.clone(noisy);
      };
      const guidance = distilledGuidance(network, {
        scale: 3.5,
        withGuidance: (label: string, g) => ({ label, guidance: g }),
      });
      const batch = tf.zeros<tf.Rank.R4>([2, 1, 1, 1]);
      const before = tf.memory().numTensors;
      guidance(batch, at, 'cat').dispose();
      expect(tf.memory().numTensors).toBe(before);
      expect(seen).toEqual([[3.5, 3.5]]);
    });
  });

  describe('a worse network', () => {
    const weaker: Denoiser<readonly number[]> = (_, __, cond) => row(...cond.map((c) => c / 2));

    test('autoguidance is w D + (1 - w) D_weaker, and does not run it at w = 1', () => {
      expectClose(values(autoguidance(echo, { weaker, scale: 3 })(x(), at, [1, 2, 4])), [2, 4, 8], 1e-6);
      let runs = 0;
      const counted: typeof weaker = (...given) => {
        runs++;
        return weaker(...given);
      };
      autoguidance(echo, { weaker: counted, scale: (level) => (level.sigma > 0.5 ? 1 : 2) })(x(), at, zero);
      expect(runs).toBe(0);
    });

    test('together adds the guidances and runs the plain pass once', () => {
      let plain = 0;
      const denoiser: Denoiser<readonly number[]> = (noisy, level, cond) => {
        if (cond !== zero) plain++;
        return echo(noisy, level, cond);
      };
      const both = together(denoiser, [
        (d) => classifierFree(d, { scale: 3, unconditional: zero }),
        (d) => awayFrom(d, weaker, 2),
      ]);
      // u + 3 (c - u) + 2 (c - c / 2) = 3 c + c.
      expectClose(values(both(x(), at, [1, 2, 4])), [4, 8, 16], 1e-6);
      expect(plain).toBe(1);
      // A second step is not answered from the first.
      expectClose(values(both(x(), at, [2, 2, 4])), [8, 8, 16], 1e-6);
    });
  });

  describe('gradients', () => {
    // Data N(0, 1), y = x0 + noise of variance 1. Everything below is Gaussian and known.
    const y = 1.5;
    const exact: Denoiser<null> = (noisy, { alpha, sigma }) => tf.mul(noisy, alpha / (alpha ** 2 + sigma ** 2));

    test('through the network: the exact posterior, when log p(y | D) is that of the estimate', () => {
      // x0 | x ~ N(D, s2) with s2 = sigma^2 / (alpha^2 + sigma^2), so y | x ~ N(D, 1 + s2).
      const s2 = at.sigma ** 2;
      const guidance = estimateGuidance(exact, {
        scale: 1,
        logProbability: (clean) => tf.div(tf.sum(tf.square(tf.sub(y, clean)), [1, 2, 3]), -2 * (1 + s2)),
      });
      const found = values(guidance(x(), at, null));
      const expected = [0.5, -1, 2].map((v) => {
        const mean = at.alpha * v;
        return mean + (s2 * (y - mean)) / (1 + s2); // E[x0 | x, y]
      });
      expectClose(found, expected, 1e-6);
    });

    test('on the estimate: the same with the covariance as scale', () => {
      const s2 = at.sigma ** 2;
      const guidance = directEstimateGuidance(exact, {
        scale: ({ sigma }) => sigma ** 2,
        logProbability: (clean) => tf.div(tf.sum(tf.square(tf.sub(y, clean)), [1, 2, 3]), -2 * (1 + s2)),
      });
      const expected = [0.5, -1, 2].map((v) => at.alpha * v + (s2 * (y - at.alpha * v)) / (1 + s2));
      expectClose(values(guidance(x(), at, null)), expected, 1e-6);
    });

    test('they run the network once and leave nothing behind', () => {
      const noisy = x();
      let runs = 0;
      const counted: Denoiser<null> = (...given) => {
        runs++;
        return exact(...given);
      };
      const logProbability = (clean: tf.Tensor4D) => tf.neg(tf.sum(tf.square(clean), [1, 2, 3])) as tf.Tensor1D;
      const before = tf.memory().numTensors;
      for (const guide of [estimateGuidance, directEstimateGuidance]) {
        guide(counted, { scale: 1, logProbability })(noisy, at, null).dispose();
      }
      expect(runs).toBe(2);
      expect(tf.memory().numTensors).toBe(before);
    });

    test('spherical distance is half the squared angle, also where its root has no derivative', () => {
      const a = tf.tensor2d([2, 0, 0, 3, -1, 0], [3, 2]);
      const b = tf.tensor2d([5, 0], [1, 2]);
      // Angles 0, 90 and 180 degrees. The 1e-6 that keeps asin's slope finite moves 180 degrees by 3e-3 of a radian.
      const found = values(sphericalDistance(a, b));
      expect(found[0]).toBeCloseTo(0, 6);
      expect(found[1]).toBeCloseTo((Math.PI / 2) ** 2 / 2, 5);
      expect(found[2]).toBeCloseTo(Math.PI ** 2 / 2, 1);
      const gradient = tf.grad((t) => tf.sum(sphericalDistance(t as tf.Tensor2D, b)))(a);
      expect([...values(gradient)].every(Number.isFinite)).toBe(true);
    });

    test('CLIP guidance turns the estimate towards the target', () => {
      const target = tf.tensor2d([0, 1, 0], [1, 3]);
      const embedImage = (images: tf.Tensor4D) => tf.reshape(images, [images.shape[0], 3]) as tf.Tensor2D;
      const guidance = clipGuidance(exact, { scale: 0.5, embedImage, target });
      const noisy = x();
      const before = tf.memory().numTensors;
      const guidedEstimate = guidance(noisy, at, null);
      expect(tf.memory().numTensors - before).toBe(1);
      const distance = (images: tf.Tensor4D) => values(sphericalDistance(embedImage(images), target))[0]!;
      expect(distance(guidedEstimate)).toBeLessThan(distance(exact(noisy, at, null)));
      // The distance knows directions only, so its gradient has none along the estimate (Euler's theorem): 1e-6 of its size.
      const plain = values(exact(noisy, at, null));
      const change = Array.from(values(guidedEstimate), (v, i) => v - plain[i]!);
      const alongEstimate = change.reduce((s, d, i) => s + d * plain[i]!, 0);
      expect(Math.abs(alongEstimate)).toBeLessThan(1e-6);
    });
  });
});
