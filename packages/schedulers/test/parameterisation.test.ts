import { describe, expect, test } from 'vitest';
import {
  convertPrediction,
  edm,
  edmTime,
  epsilon,
  flow,
  flowTime,
  levelOf,
  logSnrTime,
  type Parameterisation,
  type ScheduleKind,
  vPrediction,
  x0,
} from '../src/index.js';
import misc from './fixtures/misc.json' with { type: 'json' };

const clean = 0.7;
const noise = -1.3;
const kinds: readonly ScheduleKind[] = ['vp', 've', 'flow'];
const levels = kinds.flatMap((kind) => [0.01, 0.3, 1, 4, 60].map((ratio) => levelOf(kind, ratio)));

/** What each kind of network is trained to give, from its paper, on its own scale of x. */
const targets: Readonly<Record<string, readonly [Parameterisation, (alpha: number, sigma: number) => number]>> = {
  epsilon: [epsilon, () => noise],
  x0: [x0, () => clean],
  velocity: [vPrediction, (alpha, sigma) => (alpha * noise - sigma * clean) / Math.hypot(alpha, sigma)],
  flow: [flow, () => noise - clean],
  // F = (x0 - c_skip y) / c_out, y = x0 + r eps; Karras et al. 2022, eq. 8.
  edm: [
    edm(),
    (alpha, sigma) => {
      const r = sigma / alpha;
      const total = r * r + 0.25;
      return (clean - (0.25 / total) * (clean + r * noise)) / ((r * 0.5) / Math.sqrt(total));
    },
  ],
};

describe('a perfect network of each kind gives x0 on every kind of table', () => {
  for (const [name, [parameterisation, target]] of Object.entries(targets)) {
    test(name, () => {
      for (const { alpha, sigma } of levels) {
        const { skip, output } = parameterisation({ alpha, sigma });
        const x = alpha * clean + sigma * noise;
        // float64; eps divides a difference by alpha, which is 1/60 of it at the last level.
        expect(Math.abs(skip * x + output * target(alpha, sigma) - clean)).toBeLessThan(1e-12);
      }
    });
  }
});

describe('conversions are identities', () => {
  for (const [a, [from, fromTarget]] of Object.entries(targets)) {
    for (const [b, [to, toTarget]] of Object.entries(targets)) {
      test(`${a} to ${b} and back`, () => {
        for (const at of levels) {
          const x = at.alpha * clean + at.sigma * noise;
          const there = convertPrediction(from, to)(at);
          const f = fromTarget(at.alpha, at.sigma);
          const g = there.x * x + there.prediction * f;
          // Near the clean end a prediction of noise is a difference divided by 0.01.
          expect(Math.abs(g - toTarget(at.alpha, at.sigma))).toBeLessThan(1e-9);
          const back = convertPrediction(to, from)(at);
          expect(Math.abs(back.x * x + back.prediction * g - f)).toBeLessThan(1e-8);
        }
      });
    }
  }
});

describe('EDM', () => {
  test('the published preconditioning', () => {
    for (const [name, [skip, output, input, time]] of Object.entries(misc.edm)) {
      const at = { alpha: 1, sigma: Number(name) };
      const weights = edm()(at);
      // float64 on both sides.
      expect(Math.abs(weights.skip / skip! - 1)).toBeLessThan(1e-12);
      expect(Math.abs(weights.output / output! - 1)).toBeLessThan(1e-12);
      expect(Math.abs(weights.input / input! - 1)).toBeLessThan(1e-12);
      expect(Math.abs(edmTime(at) - time!)).toBeLessThan(1e-12);
    }
  });
});

describe('clocks', () => {
  test('flow and log SNR', () => {
    expect(flowTime()({ alpha: 0.25, sigma: 0.75 })).toBe(750);
    expect(flowTime(1)({ alpha: 1, sigma: 3 })).toBe(0.75);
    expect(logSnrTime({ alpha: Math.E, sigma: 1 })).toBeCloseTo(2, 12);
  });
});
