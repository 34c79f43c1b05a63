import { constant, normal, ones, TorchGenerator, table, uniform, xavierUniform, zeros } from '@mezzotint/core';
import { expect, test } from 'vitest';

const rng = () => new TorchGenerator(11);
const moments = (x: Float32Array) => {
  const mean = x.reduce((s, v) => s + v, 0) / x.length;
  return { mean, std: Math.sqrt(x.reduce((s, v) => s + (v - mean) ** 2, 0) / x.length) };
};

test('constants', () => {
  expect([...zeros([2, 1], rng())]).toEqual([0, 0]);
  expect([...ones([2], rng())]).toEqual([1, 1]);
  expect([...constant(0.5)([2], rng())]).toEqual([0.5, 0.5]);
  expect([...zeros([], rng())]).toEqual([0]);
});

test('normal is the stream times std, rounded once', () => {
  const drawn = new TorchGenerator(11).randn(40);
  expect([...normal(0.02)([4, 10], rng())]).toEqual([...drawn].map((x) => Math.fround(x * 0.02)));
  expect([...normal()([40], rng())]).toEqual([...drawn]);
});

test('uniform and Xavier fill their interval', () => {
  const x = uniform(0.25)([100_000], rng());
  expect(Math.max(...x.slice(0, 50_000).map(Math.abs))).toBeLessThanOrEqual(0.25);
  // Standard errors for 1e5 draws: mean 0.25 / sqrt(3e5) = 4.6e-4, std about 2e-4. Five of them.
  expect(Math.abs(moments(x).mean)).toBeLessThan(2.5e-3);
  expect(Math.abs(moments(x).std - 0.25 / Math.sqrt(3))).toBeLessThan(1e-3);
  const bound = Math.sqrt(6 / (30 + 20));
  expect([...xavierUniform(30, 20)([30, 20], rng())]).toEqual([...uniform(bound)([600], rng())]);
});

test('a table is copied, and its length checked', () => {
  const values = Float32Array.of(1, 2, 3);
  const filled = table(values)([3], rng());
  expect([...filled]).toEqual([1, 2, 3]);
  filled[0] = 9;
  expect(values[0]).toBe(1);
  expect(() => table(values)([2, 2], rng())).toThrow('expected 4 values for [2, 2], got 3');
});
