import { TorchGenerator } from '@mezzotint/random';
import { describe, expect, test } from 'vitest';
import { analyse, drawPoints, twoClasses } from '../src/tree.js';

const { a, both } = twoClasses();

describe('the mixture of the toy', () => {
  test('has 127 branches of 8 Gaussians a class, and all weights add up to 1', () => {
    expect(a).toHaveLength(1016);
    expect(new Set(a.map(({ branch }) => branch)).size).toBe(127);
    expect(a.reduce((sum, { weight }) => sum + weight, 0)).toBeCloseTo(1, 12);
  });

  test('points of both classes have mean 0 and deviation 0.5', () => {
    const count = 20_000;
    const points = drawPoints(both, count, new TorchGenerator(1));
    for (const axis of [0, 1]) {
      const values = Array.from({ length: count }, (_, n) => points[2 * n + axis]!);
      const mean = values.reduce((sum, v) => sum + v, 0) / count;
      const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / count);
      // Four standard errors of the mean are 0.014, and of the deviation about 0.01.
      expect(Math.abs(mean)).toBeLessThan(0.014);
      expect(Math.abs(deviation - 0.5)).toBeLessThan(0.012);
    }
  });

  test('the score is the gradient of the log density', () => {
    const h = 1e-4;
    for (const [x, y, sigma] of [
      [0.3, 0.1, 0.05],
      [-0.2, 0.6, 0.3],
      [2, -1, 1],
    ] as const) {
      const { score } = analyse(a, x, y, sigma);
      const along = (dx: number, dy: number) =>
        (analyse(a, x + dx, y + dy, sigma).logDensity - analyse(a, x - dx, y - dy, sigma).logDensity) / (2 * h);
      // float64 with a central difference of step 1e-4: an error of about 1e-8 of the third derivative.
      expect(score[0]).toBeCloseTo(along(h, 0), 3);
      expect(score[1]).toBeCloseTo(along(0, h), 3);
    }
  });

  test('the density integrates to 1', () => {
    const [step, range, sigma] = [0.1, 2.5, 0.2];
    let sum = 0;
    for (let x = -range; x < range; x += step) {
      for (let y = -range; y < range; y += step) sum += Math.exp(analyse(a, x, y, sigma).logDensity) * step * step;
    }
    // A Riemann sum of a smooth function that vanishes at the edges.
    expect(sum).toBeCloseTo(1, 4);
  });
});
