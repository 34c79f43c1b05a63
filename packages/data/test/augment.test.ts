import { type RandomStream, TorchGenerator } from '@mezzotint/core';
import { expect, test } from 'vitest';
import { edmAugment } from '../src/index.js';

/** A smooth image, a sum of waves. */
const wave = (x: number, y: number) => Math.sin(0.35 * x + 0.2 * y) + 0.5 * Math.cos(0.3 * y - 0.1 * x);
const size = 24;
const image = () => Float32Array.from({ length: size * size }, (_, i) => wave(i % size, Math.floor(i / size)));
const shape = [1, size, size, 1] as const;

/** A stream that gives these numbers. */
const stream = (rand: number[], randn: number[]): RandomStream => ({
  rand: () => Float32Array.from(rand),
  randn: () => Float32Array.from(randn),
});

test('without chance only the fair mirror is left, exactly, and the label says so', () => {
  const plain = edmAugment(image(), shape, stream([0.6, 1, 1, 1, 1, 0, 1, 0.5, 1], [1, 1, 1, 1]), 0);
  expect(plain.images).toEqual(image());
  expect(Array.from(plain.labels)).toEqual(Array(9).fill(0));
  const mirrored = edmAugment(image(), shape, stream([0.4, 1, 1, 1, 1, 0, 1, 0.5, 1], [1, 1, 1, 1]), 0);
  expect(mirrored.images[0]).toBe(image()[size - 1]);
  expect(Array.from(mirrored.labels)).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0]);
  expect(() => edmAugment(image(), shape, stream([], []), 2)).toThrow(/probability must be in/);
});

test('scale, turn and shift are those of the formula, away from the borders', () => {
  const angle = 0.4;
  const chance = [0.9, 1, 1, 0, 0, (angle / Math.PI + 1) / 2, 1, 0.5, 0];
  const normal = [0.8, 0, 0.3, -0.2];
  const { images, labels } = edmAugment(image(), shape, stream(chance, normal), 0.5);
  expect(labels[2]).toBeCloseTo(0.8, 6);
  expect(labels[3]).toBeCloseTo(Math.cos(angle) - 1, 5);
  expect(labels[4]).toBeCloseTo(Math.sin(angle), 5);
  expect([labels[7], labels[8]].map((v) => Math.round(v! * 1e6) / 1e6)).toEqual([0.3, -0.2]);
  const s = 2 ** (0.8 * 0.2);
  const middle = (size - 1) / 2;
  let worst = 0;
  for (let y = 8; y < 16; y++) {
    for (let x = 8; x < 16; x++) {
      // The map of the picture is s R(-angle); its inverse is R(angle) / s.
      const [dx, dy] = [x - middle - 0.3 * 0.125 * size, y - middle + 0.2 * 0.125 * size];
      const u = (Math.cos(angle) * dx - Math.sin(angle) * dy) / s + middle;
      const v = (Math.sin(angle) * dx + Math.cos(angle) * dy) / s + middle;
      worst = Math.max(worst, Math.abs(images[y * size + x]! - wave(u, v)));
    }
  }
  // Cubic interpolation of waves of 18 pixels: an error of the order of (2 pi / 18)^3 / 10.
  expect(worst).toBeLessThan(5e-3);
});

test('each happens as often as asked', () => {
  const count = 2000;
  const zeros = new Float32Array(count * 4);
  const { labels } = edmAugment(zeros, [count, 2, 2, 1], new TorchGenerator(1), 0.12);
  const rate = (column: number) => labels.filter((value, i) => i % 9 === column && value !== 0).length / count;
  // Four standard errors of a rate of 0.5 and of 0.12.
  expect(Math.abs(rate(0) - 0.5)).toBeLessThan(0.045);
  for (const column of [2, 4, 5, 7]) expect(Math.abs(rate(column) - 0.12)).toBeLessThan(0.03);
  expect(Math.abs(rate(1) - 0.06)).toBeLessThan(0.022);
});
