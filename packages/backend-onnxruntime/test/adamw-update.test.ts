import { describe, expect, test } from 'vitest';
import { adamWUpdate } from '../src/memory/adamw-update.js';

const numbers = {
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  keep: 0.999,
  gradientScale: 0.5,
  stepSize: 0.02,
  rootScale: 1.5,
};

describe('adamWUpdate', () => {
  // Sizes below, at and around a vector of four and a piece of 4,096: elements are neither left out nor touched twice.
  test.each([1, 4, 5, 4096, 4097, 8195])('%i elements are the formula in float64, within float32 rounding', (size) => {
    const array = (f: (i: number) => number) => Float32Array.from({ length: size }, (_, i) => f(i));
    const param = array((i) => Math.sin(i));
    const gradient = array((i) => Math.cos(3 * i));
    const mean = array((i) => 0.1 * Math.sin(5 * i));
    const square = array((i) => 0.01 + 0.01 * Math.cos(i));
    const want = [...param.keys()].map((i) => {
      const g = gradient[i]! * 0.5;
      const m = mean[i]! + (g - mean[i]!) * 0.1;
      const v = square[i]! * 0.999 + g * g * 0.001;
      return [param[i]! * 0.999 - (0.02 * m) / (Math.sqrt(v) * 1.5 + 1e-8), m, v];
    });
    const inputs = { param, gradient, mean, square };
    const outputs = { newParam: array(() => 0), newMean: mean, newSquare: array(() => 0) };
    adamWUpdate({ ...inputs, ...outputs }, numbers);
    const { newParam, newMean, newSquare } = outputs;
    for (const [column, made] of [newParam, newMean, newSquare].entries()) {
      // A handful of roundings of numbers of at most 2, each 2^-24 of them.
      const worst = Math.max(...want.map((row, i) => Math.abs(row[column]! - made[i]!)));
      expect(worst).toBeLessThan(5e-7);
    }
  });
});
