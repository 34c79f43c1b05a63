import { switchTo, testEngines } from '@mezzotint/backend/testing';
import type { Denoiser, NoiseLevel } from '@mezzotint/core';
import {
  convertSchedule,
  customSchedule,
  epsilon,
  flow,
  flowSchedule,
  levelAt,
  vPrediction,
} from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { gaussianBlur } from '../src/blur.js';
import {
  classifierFree,
  combineClassifierFree,
  combineFrequencyDecoupled,
  combineMagnitudeAware,
  combineRescaled,
  combineTangential,
  dynamicThresholding,
  fromPyramid,
  guidanceInterval,
  guided,
  intervalOfSteps,
  laplacianPyramid,
  plusPlus,
  scaleInInterval,
  zeroStar,
} from '../src/index.js';
import { at, conditional, expectClose, nchw, said, unconditional } from './engine.js';

const values = (x: tf.Tensor) => x.dataSync();
const picture = (f: (row: number, column: number) => number, size = 8) =>
  tf.tidy(() =>
    tf.tensor4d(
      Float32Array.from({ length: size * size }, (_, i) => f(Math.floor(i / size), i % size)),
      [1, size, size, 1],
    ),
  );

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  describe('formulations and predictions', () => {
    test('the two formulations agree when the scales differ by 1', () => {
      const a = classifierFree(said, { scale: 3.5, unconditional: 'u' })(conditional(), at, 'c');
      const b = classifierFree(said, { scale: 2.5, from: 'conditional', unconditional: 'u' })(conditional(), at, 'c');
      expectClose(values(a), values(b), 1e-6); // the same sum in another order
    });

    test('classifier-free guidance is the same on every prediction, rescaling is not', () => {
      const x = conditional();
      const run = (rescale: number, prediction?: typeof epsilon) =>
        values(classifierFree(said, { scale: 3, unconditional: 'u', rescale, prediction })(x, at, 'c'));
      // x0 is affine in each prediction at a fixed x; float32 with factors up to alpha / sigma and back: 1e-5.
      for (const prediction of [epsilon, vPrediction, flow]) expectClose(run(0, prediction), run(0), 1e-5);
      expect(Math.abs(run(0.7, epsilon)[0]! - run(0.7)[0]!)).toBeGreaterThan(1e-2);
    });

    test('rescaling wholly gives each image the deviation of the conditional one', () => {
      const [c, u] = [conditional(), unconditional()];
      const deviations = (x: tf.Tensor4D) => values(tf.sqrt(tf.moments(x, [1, 2, 3]).variance));
      const rescaled = combineRescaled(combineClassifierFree({ scale: 7.5 }), 1)(c, u, at);
      expectClose(deviations(rescaled), deviations(c), 1e-6);
    });

    test('the first channels are guided, the others conditional, as DiT’s samples are', () => {
      const guide = (channels?: number) =>
        classifierFree(said, { scale: 4, unconditional: 'u', channels })(conditional(), at, 'c');
      const depth = conditional().shape[3];
      const [all, two, c] = [guide(), guide(2), conditional()];
      const cut = (x: tf.Tensor4D, from: number, size: number) =>
        values(tf.slice(x, [0, 0, 0, from], [-1, -1, -1, size]));
      // The same numbers, taken apart and put together.
      expect(cut(two, 0, 2)).toEqual(cut(all, 0, 2));
      expect(cut(two, 2, depth - 2)).toEqual(cut(said(c, at, 'c'), 2, depth - 2));
      expect(values(guide(depth))).toEqual(values(all));
      expect(() => guide(depth + 1)).toThrow(/at most the 4 channels of the images, got 5/);
      expect(() => guide(0)).toThrow(/a whole number of at least 1, got 0/);
    });

    test('eps says nothing at alpha 0, and the error says what to do', () => {
      const cfg = classifierFree(said, { scale: 3, unconditional: 'u', prediction: epsilon });
      expect(() => cfg(conditional(), { alpha: 0, sigma: 1 }, 'c')).toThrow(/combine another prediction/);
    });

    test('any combination of the caller works', () => {
      const mean = guided(said, (c, u) => tf.div(tf.add(c, u), 2), { unconditional: 'u' });
      expectClose(
        values(mean(conditional(), at, 'c')),
        values(tf.div(tf.add(conditional(), unconditional()), 2)),
        1e-7,
      );
    });
  });

  describe('guidance by noise level', () => {
    const counting = () => {
      const calls: string[] = [];
      const denoiser: Denoiser<string> = (x, level, cond) => {
        calls.push(cond);
        return said(x, level, cond);
      };
      return { calls, denoiser };
    };

    test('an interval guides inside (low, high] only and runs one pass outside', () => {
      const { calls, denoiser } = counting();
      const interval = { low: 0.5, high: 0.75 };
      const guide = (d: Denoiser<string>) => classifierFree(d, { scale: 3, unconditional: 'u' });
      const byGuide = guidanceInterval(denoiser, guide, interval);
      const byScale = classifierFree(denoiser, { scale: scaleInInterval(3, interval), unconditional: 'u' });
      for (const guidance of [byGuide, byScale]) {
        for (const [ratio, passes] of [
          [0.5, 1],
          [0.6, 2],
          [0.75, 2],
          [0.8, 1],
        ] as const) {
          calls.length = 0;
          guidance(conditional(), { alpha: 1, sigma: ratio }, 'c');
          expect(calls).toEqual(passes === 1 ? ['c'] : ['c', 'u']);
        }
      }
    });

    test('a blur of deviation 0 is the picture itself, a negative one is an error', () => {
      for (const size of [undefined, 9]) {
        expect([...values(gaussianBlur(conditional(), 0, size))]).toEqual([...values(conditional())]);
      }
      expect(() => gaussianBlur(conditional(), -1)).toThrow(/deviation must be at least 0, got -1/);
    });

    test('steps of a table become its noise ratios', () => {
      const table = flowSchedule([1, 0.75, 0.5, 0.25, 0]);
      expect(intervalOfSteps(table, 0, 0)).toEqual({ low: 3, high: Number.POSITIVE_INFINITY });
      expect(intervalOfSteps(table, 1, 2)).toEqual({ low: 1 / 3, high: 3 });
      // Churn evaluates the first step above the table's first level.
      const finite = flowSchedule([0.75, 0.5, 0]);
      expect(intervalOfSteps(finite, 0, 0)).toEqual({ low: 1, high: Number.POSITIVE_INFINITY });
      expect(() => intervalOfSteps(table, 1, 4)).toThrow(/last < 4/);
    });
  });

  describe('CFG++', () => {
    test("a DDIM step is the paper's: guided estimate, unconditional noise", () => {
      const sigma = Float64Array.from([0.95, 0.7, 0.3, 0]);
      const table = customSchedule('vp', { alpha: sigma.map((s) => Math.sqrt(1 - s * s)), sigma });
      const lambda = 0.6;
      const x = tf.mul<tf.Tensor4D>(conditional(), 1.3);
      for (let i = 0; i < 3; i++) {
        const level = levelAt(table, i);
        const next = levelAt(table, i + 1);
        const estimate = plusPlus(said, { lambda, unconditional: 'u', table })(x, level, 'c');
        const p = next.sigma / level.sigma;
        const ours = tf.add(tf.mul(x, p), tf.mul(estimate, next.alpha - level.alpha * p));
        const [c, u] = [conditional(), unconditional()];
        const eps = tf.div(tf.sub(x, tf.mul(u, level.alpha)), level.sigma);
        const clean = tf.add(u, tf.mul(tf.sub(c, u), lambda));
        const papers = tf.add(tf.mul(clean, next.alpha), tf.mul(eps, next.sigma));
        // The estimate is up to 1 / (1 - r'/r) = 2.3 times larger than what comes out: a few roundings of that.
        expectClose(values(ours), values(papers), 2e-6);
      }
      const guidance = plusPlus(said, { lambda, unconditional: 'u', table });
      expect(() => guidance(x, { alpha: 0.6, sigma: 0.8 }, 'c')).toThrow(/is no row/);
      expect(() => guidance(x, levelAt(table, 3), 'c')).toThrow(/is no row/);
    });
  });

  describe('CFG-Zero*', () => {
    test('starts with no velocity: x stays where it is', () => {
      const table = flowSchedule([1, 0.8, 0.4, 0]);
      const { low } = intervalOfSteps(table, 0, 0);
      const guidance = zeroStar(said, { scale: 4, unconditional: 'u', zeroAbove: low });
      const x = tf.mul<tf.Tensor4D>(conditional(), 1.7);
      // u = 0 means D = x on flow levels (alpha + sigma = 1).
      expect([...values(guidance(x, levelAt(table, 0), 'c'))]).toEqual([...values(x)]);
      const later = values(guidance(x, levelAt(table, 1), 'c'));
      expect(Math.abs(later[0]! - values(x)[0]!)).toBeGreaterThan(0.1);
    });

    test('an eps of 0 says nothing where there is no signal, which is an error and no NaN', () => {
      const guidance = zeroStar(said, { scale: 4, unconditional: 'u', zeroAbove: 1, prediction: epsilon });
      expect(() => guidance(conditional(), { alpha: 0, sigma: 1 }, 'c')).toThrow(
        /says nothing about x0 at alpha 0.*zeroSteps 0/,
      );
      expect(values(guidance(conditional(), { alpha: 0.6, sigma: 0.8 }, 'c')).every(Number.isFinite)).toBe(true);
    });

    test('is the combination on velocities', () => {
      const level: NoiseLevel = { alpha: 0.6, sigma: 0.4 };
      const x = tf.mul<tf.Tensor4D>(conditional(), 1.7);
      const [c, u] = ['c', 'u'].map((k) => values(tf.div(tf.sub(x, said(x, level, k)), level.sigma)));
      const image = (v: ArrayLike<number>, n: number) => Array.from(v).slice(n * 256, n * 256 + 256);
      const expected = [0, 1].flatMap((n) => {
        const [a, b] = [image(c!, n), image(u!, n)];
        const fit = a.reduce((s, v, i) => s + v * b[i]!, 0) / b.reduce((s, v) => s + v * v, 0);
        return a.map((v, i) => fit * b[i]! + 4 * (v - fit * b[i]!));
      });
      const estimate = zeroStar(said, { scale: 4, unconditional: 'u' })(x, level, 'c');
      const velocityOut = values(tf.div(tf.sub(x, estimate), level.sigma));
      expectClose(velocityOut, expected, 3e-6); // velocities up to 4 and a fit from sums of 256 products
    });
  });

  test('magnitude-aware: the formula, image by image', () => {
    const [c, u] = [conditional(), unconditional()];
    const [a, b] = [values(c), values(u)];
    for (const from of ['unconditional', 'conditional'] as const) {
      const found = values(combineMagnitudeAware({ scale: 10, damping: 0.8, from })(c, u, at));
      const expected = [0, 1].flatMap((n) => {
        const span = Array.from({ length: 256 }, (_, i) => n * 256 + i);
        const norm = (f: (i: number) => number) => Math.sqrt(span.reduce((s, i) => s + f(i) ** 2, 0));
        const fall = Math.exp((-0.8 * norm((i) => a[i]! - b[i]!)) / norm((i) => b[i]!));
        const weight = from === 'unconditional' ? 1 + 9 * fall : 10 * fall;
        return span.map((i) => (from === 'unconditional' ? b : a)[i]! + weight * (a[i]! - b[i]!));
      });
      expectClose(found, expected, 1e-5); // norms of 256 float32 squares under an exponential, times differences of 8
    }
  });

  test('tangential: parallel predictions leave all of u, a zero condition none of its own direction lost', () => {
    const c = conditional();
    // u = c / 2: one direction, nothing across it, so classifier-free guidance as it is: u + 3 (c - u) = 2 c.
    const parallel = combineTangential({ scale: 3 })(c, tf.mul(c, 0.5), at);
    expectClose(values(parallel), values(tf.mul(c, 2)), 1e-5);
    // Perpendicular and shorter: the main direction is c, so u is left out: 0 + 3 c.
    const [even, odd] = [picture((r) => (r % 2 ? 1 : 0)), picture((r) => (r % 2 ? 0 : 0.5))];
    expectClose(values(combineTangential({ scale: 3 })(even, odd, at)), values(tf.mul(even, 3)), 1e-6);
    // And longer: u stays, u + 3 (c - u).
    expectClose(
      values(combineTangential({ scale: 3 })(odd, even, at)),
      values(tf.add(even, tf.mul(tf.sub(odd, even), 3))),
      1e-6,
    );
  });

  describe('frequency-decoupled', () => {
    test('a pyramid gives its picture back, at any size', () => {
      for (const size of [8, 7, 5]) {
        const x = picture((r, c) => Math.sin(3 * r + 2 * c * c), size);
        const pyramid = laplacianPyramid(x, 3);
        expect(pyramid.map((level) => level.shape[1])).toEqual([size, Math.ceil(size / 2), Math.ceil(size / 4)]);
        expectClose(values(fromPyramid(pyramid)), values(x), 1e-6);
      }
    });

    test('the filters: a flat picture is all in the last level, a point is spread by 1 4 6 4 1', () => {
      const flat = laplacianPyramid(
        picture(() => 0.7),
        2,
      );
      expectClose(
        values(flat[0]!),
        Array.from({ length: 64 }, () => 0),
        1e-6,
      );
      // The halved picture is the mean of 2 x 2 pixels of the blurred one: rows 2 and 3 of a point at 3 are 4 and 6 of 16.
      const point = laplacianPyramid(
        picture((r, c) => (r === 3 && c === 3 ? 1 : 0)),
        2,
      );
      const along = [1 / 2, 5, 5 / 2, 0].map((w) => w / 16); // pairs of [0, 1, 4, 6, 4, 1, 0, 0], halved
      expectClose(
        values(point[1]!),
        along.flatMap((a) => along.map((b) => a * b)),
        1e-7,
      );
    });

    test('equal scales are classifier-free guidance', () => {
      const found = combineFrequencyDecoupled({ scales: [4, 4, 4] })(conditional(), unconditional(), at);
      const plain = combineClassifierFree({ scale: 4 })(conditional(), unconditional(), at);
      expectClose(nchw(found), nchw(plain), 2e-6); // sums of a few filtered levels of size 4
    });

    test('a flat difference is scaled by the last scale alone, and stripes by the first', () => {
      const u = picture((r, c) => Math.sin(r + 2 * c));
      const shift = (d: tf.Tensor4D) =>
        values(tf.sub(combineFrequencyDecoupled({ scales: [10, 3] })(tf.add(u, d), u, at), u));
      expectClose(
        shift(picture(() => 0.5)),
        Array.from({ length: 64 }, () => 1.5),
        2e-6,
      );
      // 1 4 6 4 1 answers stripes of one pixel with 0: all of it is in the finest level.
      const stripes = picture((r) => (r % 2 ? 0.1 : -0.1));
      expectClose(shift(stripes), values(tf.mul(stripes, 10)), 2e-6);
    });

    test('parallel weights: what lies along the condition can be dropped', () => {
      const c = conditional();
      const dropped = combineFrequencyDecoupled({ scales: [4, 4], parallel: [0, 0], from: 'conditional' });
      expectClose(values(dropped(c, tf.mul(c, 0.5), at)), values(c), 2e-6);
      expect(() => combineFrequencyDecoupled({ scales: [4, 4], parallel: [1] })).toThrow(/2 scales and 1 weights/);
    });
  });

  test('dynamic thresholding divides by a quantile of each image', () => {
    // 1 .. 64 over 32: the quantile 1 of |x| is 2, so everything is halved.
    const x = picture((r, c) => (8 * r + c + 1) / 32);
    const found = dynamicThresholding<null>((noisy) => tf.clone(noisy), { quantile: 1 })(x, at, null);
    expectClose(values(found), values(tf.div(x, 2)), 1e-7);
  });

  test('a guided denoiser is the same on every kind of table', () => {
    // Guidance of estimates knows no kinds: the level only counts through its scale functions, by sigma / alpha.
    const vp = customSchedule('vp', { alpha: Float64Array.from([0.6, 1]), sigma: Float64Array.from([0.8, 0]) });
    const cfg = classifierFree(said, {
      scale: scaleInInterval(3, { low: 1 }),
      unconditional: 'u',
    });
    const answers = [vp, convertSchedule(vp, 've'), convertSchedule(vp, 'flow')].map((table) =>
      values(cfg(conditional(), levelAt(table, 0), 'c')),
    );
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
  });
});
