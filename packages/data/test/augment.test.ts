import { type RandomStream, TorchGenerator } from '@mezzotint/core';
import { expect, test } from 'vitest';
import { edmAugment } from '../src/index.js';
import golden from './fixtures/edm-augment.json' with { type: 'json' };

const { height, width, channels } = golden;
const shape = [1, height, width, channels] as const;
const floats = (base64: string) => new Float32Array(new Uint8Array(Buffer.from(base64, 'base64')).buffer);
const image = () => floats(golden.image);

/** A stream that gives these numbers. */
const stream = (rand: number[], randn: number[]): RandomStream => ({
  rand: () => Float32Array.from(rand),
  randn: () => Float32Array.from(randn),
});

/** What is done to a picture. */
interface Parameters {
  readonly x?: number;
  readonly y?: number;
  readonly scale?: number;
  readonly angle?: number;
  readonly stretch?: number;
  readonly axis?: number;
  readonly shift?: number[];
}

/** A stream of which these parameters are drawn. */
function drawn({ x = 0, y = 0, scale = 0, angle = 0, stretch = 0, axis, shift = [0, 0] }: Parameters): RandomStream {
  const uniform = (turn: number) => (turn / Math.PI + 1) / 2;
  const chance = [1 - x, 0, 1 - y, 0, 0, uniform(angle), 0, uniform(axis ?? 1), 0, axis === undefined ? 1 : 0];
  return stream(chance, [scale, stretch, ...shift]);
}

// Not all are single transforms: the order shows in those of several. The tolerance is that of float32 sums; the angle is drawn in float32.
test.each(golden.cases)("is EDM's AugmentPipe, pictures and labels: $name", ({ labels, image: expected, ...given }) => {
  const ours = edmAugment(image(), shape, drawn(given), 1);
  expect(ours.labels).toHaveLength(9);
  labels.forEach((label, i) => void expect(ours.labels[i], `label ${i}`).toBeCloseTo(label, 5));
  const worst = floats(expected).reduce((most, value, i) => Math.max(most, Math.abs(value - ours.images[i]!)), 0);
  expect(worst).toBeLessThan(1e-5);
});

test('with probability 0 nothing is done, the fair mirror neither', () => {
  const everything = drawn({ x: 1, y: 1, scale: 1, angle: 1, stretch: 1, shift: [1, 1] });
  expect(edmAugment(image(), shape, everything, 0)).toEqual({ images: image(), labels: new Float32Array(9) });
  expect(() => edmAugment(image(), shape, stream([], []), 2)).toThrow(/probability must be in/);
});

test('the fair mirror is exact at every other probability', () => {
  const chance = [0.4, 1, 1, 1, 1, 0, 1, 0.5, 1, 1];
  const { images, labels } = edmAugment(image(), shape, stream(chance, [1, 1, 1, 1]), 0.12);
  const row = (all: Float32Array) => Array.from({ length: width }, (_, i) => all[i * channels]);
  expect(row(images)).toEqual(row(image()).reverse());
  expect(Array.from(labels)).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0]);
});

test('each happens as often as asked', () => {
  const count = 2000;
  const zeros = new Float32Array(count * 4);
  const { labels } = edmAugment(zeros, [count, 2, 2, 1], new TorchGenerator(1), 0.12);
  const rate = (column: number) => labels.filter((value, i) => i % 9 === column && value !== 0).length / count;
  // Four standard errors of a rate of 0.5, of 0.12 and of 0.06.
  expect(Math.abs(rate(0) - 0.5)).toBeLessThan(0.045);
  for (const column of [2, 4, 5, 7]) expect(Math.abs(rate(column) - 0.12)).toBeLessThan(0.03);
  // Mirrored up-down, and stretched along a turned axis: half of the cases.
  for (const column of [1, 6]) expect(Math.abs(rate(column) - 0.06)).toBeLessThan(0.022);
});
