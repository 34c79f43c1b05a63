import { readFileSync } from 'node:fs';
import { InvalidArgumentError } from '@mezzotint/core';
import { expect, test } from 'vitest';
import { constantRate, cosineRate, inverseSqrtRate, linearRate, warmUp } from '../src/index.js';

const golden = JSON.parse(readFileSync(new URL('fixtures/rates-and-decays.json', import.meta.url), 'utf8')) as Record<
  string,
  number[]
>;

test("inverse square root with warm-up is EDM2's schedule", () => {
  const batch = 2048;
  const rate = warmUp(10e6 / batch, inverseSqrtRate({ peak: 0.01, after: 70_000 }));
  const expected = golden['EDM2-S lr at nimg 1e6,1e7,143.36e6,2147483648']!;
  [1e6, 1e7, 143.36e6, 2147483648].forEach((images, i) => {
    expect(rate(images / batch) / expected[i]!).toBeCloseTo(1, 12);
  });
});

test('each schedule has its closed form, and stays at its end', () => {
  expect([1, 5, 10, 11, 99].map(warmUp(10, constantRate(2)))).toEqual([0.2, 1, 2, 2, 2]);
  const cosine = cosineRate({ peak: 1, steps: 100, end: 0.1 });
  [1, 0.55, 0.1, 0.1].forEach((rate, i) => {
    expect(cosine([0, 50, 100, 500][i]!)).toBeCloseTo(rate, 12);
  });
  expect([0, 25, 100, 200].map(linearRate({ peak: 1, steps: 100, end: 0.5 }))).toEqual([1, 0.875, 0.5, 0.5]);
  expect(warmUp(0, constantRate(1))(1)).toBe(1);
});

test('numbers out of range are refused together', () => {
  expect(() => cosineRate({ peak: -1, steps: Number.NaN })).toThrow(InvalidArgumentError);
  expect(() => cosineRate({ peak: -1, steps: Number.NaN })).toThrow(/peak.*got -1\n.*steps.*got NaN/);
});
