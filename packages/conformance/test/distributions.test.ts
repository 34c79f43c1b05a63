import { dpmppSinglestep, ratioSchedule, traceEnd } from '@mezzotint/schedulers';
import { expect, test } from 'vitest';
import { type Distribution, gaussian, mixture, smoothSchedule, threePeaks } from '../src/index.js';
import { logNormalCdf } from '../src/normal.js';

const levels = [
  { alpha: 0.6, sigma: 0.8 },
  { alpha: 1, sigma: 0.1 },
  { alpha: 0.02, sigma: 0.98 },
];
const grid = Float64Array.from({ length: 13 }, (_, i) => -3 + i / 2);

test('the normal distribution has full precision far into the tail', () => {
  // Abramowitz & Stegun, table 26.2 and 26.1: P(-1), P(-2), P(-3), log10 P(-10) = -23.11805, log10 P(-40) = -349.43701.
  for (const [z, p] of [
    [-1, 0.158655253931457],
    [-2, 0.0227501319481792],
    [-3, 0.00134989803163009],
    [1, 0.841344746068543],
  ] as const) {
    expect(Math.abs(Math.exp(logNormalCdf(z)) / p - 1)).toBeLessThan(1e-13);
  }
  expect(logNormalCdf(-10) / Math.LN10).toBeCloseTo(-23.11805, 5);
  expect(logNormalCdf(-40) / Math.LN10).toBeCloseTo(-349.43701, 5);
  // Series and continued fraction meet at z = -2 sqrt(2).
  const z = -2 * Math.SQRT2;
  expect(Math.abs(logNormalCdf(z - 1e-9) - logNormalCdf(z + 1e-9))).toBeLessThan(1e-8);
});

for (const data of [gaussian({ mean: 0.4, deviation: 0.7 }), threePeaks] as Distribution[]) {
  test(`${data.name}: the denoiser is Tweedie's formula of its density`, () => {
    for (const at of levels) {
      const h = 1e-5;
      const found = data.denoise(grid, at);
      for (const [i, x] of grid.entries()) {
        const score = (data.logDensity(x + h, at) - data.logDensity(x - h, at)) / (2 * h);
        // Central differences: h^2 times the third derivative, and 1e-16 / h of rounding.
        expect(Math.abs(found[i]! - (x + at.sigma ** 2 * score) / at.alpha)).toBeLessThan(1e-6 / at.alpha);
      }
    }
  });

  test(`${data.name}: the density is one, and has the mean and variance that it says`, () => {
    for (const at of levels) {
      const [step, count] = [0.002, 8000];
      const moments = [0, 0, 0];
      for (let i = -count; i <= count; i++) {
        const p = Math.exp(data.logDensity(i * step, at)) * step;
        for (const k of [0, 1, 2]) moments[k]! += p * (i * step) ** k;
      }
      expect(moments[0]).toBeCloseTo(1, 9);
      expect(moments[1]).toBeCloseTo(at.alpha * data.mean, 9);
      const spread = moments[2]! - moments[1]! ** 2;
      expect(spread).toBeCloseTo(at.sigma ** 2 + at.alpha ** 2 * data.variance, 9);
    }
  });

  test(`${data.name}: the solution is the ODE's`, () => {
    for (const kind of ['vp', 've', 'flow'] as const) {
      const table = smoothSchedule(kind, 1500);
      const [from, to] = [0, 1500].map((i) => ({ alpha: table.alpha[i]!, sigma: table.sigma[i]! }));
      const start = grid.map((v) => v * Math.hypot(from!.sigma, from!.alpha));
      const found = traceEnd(dpmppSinglestep({ order: 3 }), data.denoise, start, table);
      const exact = data.solve(start, from!, to!);
      // Order 3: the 5e-7 that 384 rows leave is 60 times less with 1500, on points three times as far out.
      for (const [i, v] of exact.entries()) expect(Math.abs(found[i]! - v)).toBeLessThan(5e-8);
      // And back again.
      const back = data.solve(exact, to!, from!);
      for (const [i, v] of start.entries()) expect(Math.abs(back[i]! - v)).toBeLessThan(1e-9 * (1 + Math.abs(v)));
    }
  });
}

test('a mixture of one normal is that normal', () => {
  const one = mixture([{ weight: 3, mean: 0.4, deviation: 0.7 }]);
  const normal = gaussian({ mean: 0.4, deviation: 0.7 });
  const [from, to] = [
    { alpha: 0.1, sigma: 2 },
    { alpha: 1, sigma: 0 },
  ];
  for (const [a, b] of [
    [one.denoise(grid, from), normal.denoise(grid, from)],
    [one.solve(grid, from, to), normal.solve(grid, from, to)],
  ] as const) {
    for (const [i, v] of b.entries()) expect(Math.abs(a[i]! - v)).toBeLessThan(1e-12);
  }
  expect([one.mean, one.variance]).toEqual([0.4, 0.7 ** 2]);
});

test('pure noise and clean data are levels too', () => {
  const table = ratioSchedule('flow', [Number.POSITIVE_INFINITY, 0]);
  for (const data of [gaussian(), threePeaks]) {
    const end = data.solve(grid, { alpha: table.alpha[0]!, sigma: table.sigma[0]! }, { alpha: 1, sigma: 0 });
    expect(end.every(Number.isFinite)).toBe(true);
    // The order of points is kept.
    expect([...end].sort((a, b) => a - b)).toEqual([...end]);
    expect(data.denoise(grid, { alpha: 0, sigma: 1 })[0]).toBeCloseTo(data.mean, 12);
  }
});

test('what cannot be a distribution is refused', () => {
  expect(() => gaussian({ deviation: 0 })).toThrow(/positive, got 0/);
  expect(() => mixture([])).toThrow(/at least one component/);
  expect(() => mixture([{ weight: -1, mean: 0, deviation: 1 }])).toThrow(/weight must be positive/);
});
