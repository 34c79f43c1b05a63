import { switchTo } from '@mezzotint/backend/testing';
import { asWeightSource, Module, normal, Param, type StateDict, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  ema,
  posthocCoefficients,
  posthocEma,
  powerExponent,
  powerFunctionDecay,
  relativeWidth,
} from '../src/index.js';

// shared/REFERENCE.md, 6.6: numbers of NVlabs/edm2's phema.py in float64.
describe('the power function average has the reference’s numbers', () => {
  test.each([
    [0.01, 96.9948978237],
    [0.05, 16.9721986023],
    [0.1, 6.9372039376],
    [0.13, 4.6035967815],
    [0.15, 3.5578687749],
    [0.2, 1.8262137799],
    [0.25, 0.719823958],
  ])('width %s has exponent %s', (sigmaRel, gamma) => {
    expect(powerExponent(sigmaRel)).toBeCloseTo(gamma, 9);
    expect(relativeWidth(powerExponent(sigmaRel))).toBeCloseTo(sigmaRel, 14);
  });

  test('exponent 1 has width 0.2357022604', () => expect(relativeWidth(1)).toBeCloseTo(0.2357022604, 10));

  test('decays: 0 at the first update, and at 2^20 images with batches of 2048', () => {
    const updates = 2 ** 20 / 2048;
    expect(powerFunctionDecay(0.05)(0)).toBe(0);
    expect(powerFunctionDecay(0.05)(updates - 1)).toBeCloseTo(0.965473838, 9);
    expect(powerFunctionDecay(0.1)(updates - 1)).toBeCloseTo(0.984602266, 9);
  });

  test.each([
    [0.05, 947.7897983],
    [0.1, 888.6075202],
  ])('of 1, 2, ..., 1000 by width %s', (sigmaRel, expected) => {
    const decay = powerFunctionDecay(sigmaRel);
    let average = 0;
    for (let i = 1; i <= 1000; i++) average += (i - average) * (1 - decay(i - 1));
    expect(average).toBeCloseTo(expected, 6);
  });

  test('widths out of reach are refused', () => {
    for (const width of [0, -1, 0.3, Number.NaN])
      expect(() => powerExponent(width)).toThrow(/sigmaRel must be above 0/);
  });
});

/** Averages of sin(i / 100) at each width, at 16 times up to 4096, and the final one at any width. */
function tracked(widths: readonly number[]) {
  const averages = widths.map(() => 0);
  const decays = widths.map(powerFunctionDecay);
  const snapshots: { sigmaRel: number; time: number; value: number }[] = [];
  for (let i = 1; i <= 4096; i++) {
    widths.forEach((sigmaRel, w) => {
      averages[w] = averages[w]! + (Math.sin(i / 100) - averages[w]!) * (1 - decays[w]!(i - 1));
      if (i % 256 === 0) snapshots.push({ sigmaRel, time: i, value: averages[w]! });
    });
  }
  return { snapshots, final: averages };
}

describe('post-hoc reconstruction', () => {
  const { snapshots } = tracked([0.05, 0.1]);

  // shared/REFERENCE.md, 6.6. The sums have cancelling terms of size 10, so that float64 leaves about 1e-9.
  test.each([
    [0.05, 0],
    [0.075, 0.2500421452],
    [0.15, 0.1088570553],
    [0.2, 0.0683874795],
  ])('width %s', (sigmaRel, reference) => {
    const coefficients = posthocCoefficients(snapshots, { sigmaRel, time: 4096 });
    const value = snapshots.reduce((sum, { value }, i) => sum + coefficients[i]! * value, 0);
    const expected = sigmaRel === 0.05 ? snapshots.at(-2)!.value : reference;
    expect(Math.abs(value - expected)).toBeLessThan(1e-8);
    expect(coefficients.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
  });

  test('what was tracked comes back, at any snapshot’s time', () => {
    const coefficients = posthocCoefficients(snapshots, { sigmaRel: 0.1, time: 2048 });
    snapshots.forEach(({ sigmaRel, time }, i) => {
      expect(coefficients[i]).toBeCloseTo(sigmaRel === 0.1 && time === 2048 ? 1 : 0, 7);
    });
  });

  test('what cannot be reconstructed is refused', () => {
    expect(() => posthocCoefficients([], { sigmaRel: 0.1, time: 1 })).toThrow(/there is no snapshot/);
    const twice = [snapshots[0]!, snapshots[0]!];
    expect(() => posthocCoefficients(twice, { sigmaRel: 0.1, time: 256 })).toThrow(/two snapshots have sigmaRel 0.05/);
    expect(() => posthocCoefficients(snapshots, { sigmaRel: 0.1, time: 5000 })).toThrow(/5000 is after the last/);
  });
});

class Tiny extends Module {
  readonly a = new Param([3], { init: normal(1) });
  readonly b = new Param([2, 2], { init: normal(1) });
}

describe('of a model', () => {
  beforeAll(() => switchTo('cpu'));

  test('a reconstructed width equals the average that was really tracked', async () => {
    const model = new Tiny().init(0);
    const widths = [0.05, 0.1, 0.075];
    const averages = widths.map((width) => ema(model, powerFunctionDecay(width)));
    const stored: { sigmaRel: number; time: number; tensors: StateDict }[] = [];
    const rng = new TorchGenerator(4);
    const [drift, noise] = [rng.randn(7), () => rng.randn(7)];
    for (let step = 1; step <= 512; step++) {
      // Weights that settle: a drift that slows down, and noise of the learning rate.
      const n = noise();
      const moved = drift.map((d, i) => d * Math.log(step + 10) + 0.001 * n[i]!);
      model.a.variable.assign(tf.tensor(moved.slice(0, 3)));
      model.b.variable.assign(tf.tensor(moved.slice(3), [2, 2]));
      for (const average of averages) average.update();
      if (step % 16 !== 0) continue;
      for (const [i, average] of averages.slice(0, 2).entries()) {
        stored.push({ sigmaRel: widths[i]!, time: step, tensors: (await average.save()).tensors });
      }
    }
    const snapshots = stored.map(({ tensors, ...profile }) => ({ ...profile, weights: asWeightSource(tensors) }));
    const targets = [0.1, 0.075].map((sigmaRel) => ({ sigmaRel, time: 512 }));
    const direct = [(await averages[1]!.save()).tensors, (await averages[2]!.save()).tensors];
    for await (const { name, averages } of posthocEma(snapshots, targets)) {
      averages.forEach(({ data }, t) => {
        // A stored width exactly but for float32; another within what the profile's fit leaves of the noise.
        const worst = Math.max(...data.map((value, i) => Math.abs(value - direct[t]![name]!.data[i]!)));
        expect(worst).toBeLessThan(t === 0 ? 1e-6 : 1e-5);
      });
    }
    for (const average of averages) average.dispose();
    model.dispose();
  });

  test('snapshots of two models are refused, with the differences', async () => {
    const tensors = (n: number) => asWeightSource({ a: { shape: [n], data: new Float32Array(n) } });
    const snapshots = [1, 2].map((n) => ({ sigmaRel: 0.1, time: n, weights: tensors(n) }));
    await expect(posthocEma(snapshots, [{ sigmaRel: 0.1, time: 2 }]).next()).rejects.toThrow(
      /not of one model:\n {2}state dict: a is \[2\]/,
    );
  });
});
