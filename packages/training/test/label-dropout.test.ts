import { InvalidArgumentError, TorchGenerator } from '@mezzotint/core';
import { expect, test } from 'vitest';
import { dropCaptions, dropLabels, shuffleTags } from '../src/index.js';

test('drops the share p of the labels, from the stream, and changes no other', () => {
  const labels = Int32Array.from({ length: 10_000 }, (_, i) => i % 10);
  const dropped = dropLabels(labels, 10, 0.1, new TorchGenerator(1));
  const count = dropped.filter((label) => label === 10).length;
  // Binomial(10000, 0.1) has a standard deviation of 30; five of them.
  expect(Math.abs(count - 1000)).toBeLessThan(150);
  dropped.forEach((label, i) => {
    expect(label === 10 || label === i % 10).toBe(true);
  });
  expect(labels[3]).toBe(3);
  expect(dropLabels(labels, 10, 0.1, new TorchGenerator(1))).toEqual(dropped);
});

test('p of 0 and 1 are exact, and every p takes the same draws', () => {
  const labels = Int32Array.of(1, 2, 3);
  const after = [0, 0.5, 1].map((p) => {
    const rng = new TorchGenerator(1);
    const out = dropLabels(labels, 9, p, rng);
    if (p !== 0.5) expect([...out]).toEqual(p === 0 ? [1, 2, 3] : [9, 9, 9]);
    return rng.rand(1)[0];
  });
  expect(new Set(after).size).toBe(1);
  expect(() => dropLabels(labels, 9, 1.5, new TorchGenerator(1))).toThrow(InvalidArgumentError);
});

test('captions are dropped for all encoders together, and for each alone, as often as asked', () => {
  const captions = Array.from({ length: 10_000 }, (_, i) => (i % 10 === 0 ? '' : `text ${i}`));
  const [a, b] = dropCaptions(captions, { all: 0.1, each: [0, 0.4] }, new TorchGenerator(2)) as [
    (string | null)[],
    (string | null)[],
  ];
  const there = captions.flatMap((caption, i) => (caption === '' ? [] : [i]));
  const fraction = (drops: (i: number) => boolean) => there.filter(drops).length / there.length;
  // 9,000 draws: standard deviations of 0.0032 and 0.0053; five of them.
  expect(Math.abs(fraction((i) => a[i] === null) - 0.1)).toBeLessThan(0.016);
  expect(Math.abs(fraction((i) => b[i] === null) - (1 - 0.9 * 0.6))).toBeLessThan(0.027);
  expect(fraction((i) => a[i] === null && b[i] !== null)).toBe(0); // what all lose, each loses
  captions.forEach((caption, i) => {
    expect([null, caption || null]).toContain(b[i]);
  });
  // What was drawn depends on no probability.
  const after = [0, 1].map((p) => {
    const rng = new TorchGenerator(3);
    dropCaptions(['x', 'y'], { all: p, each: [p, 0] }, rng);
    return rng.rand(1)[0];
  });
  expect(after[0]).toBe(after[1]);
  expect(() => dropCaptions(['x'], { all: 0.1, each: [-1] }, new TorchGenerator(1))).toThrow(
    /must be in \[0, 1\], got -1/,
  );
});

test('tags behind the first are shuffled evenly and left out as often as asked', () => {
  const rng = new TorchGenerator(4);
  const first = new Map<string, number>();
  let left = 0;
  const draws = 3000;
  for (let i = 0; i < draws; i++) {
    const [cat, ...others] = shuffleTags('cat, red, big, old', { separator: ', ', keep: 1, dropout: 0.25 }, rng).split(
      ', ',
    );
    expect(cat).toBe('cat');
    left += others.length;
    if (others[0] !== undefined) first.set(others[0], (first.get(others[0]) ?? 0) + 1);
  }
  // 9,000 tags stay with probability 0.75: a deviation of 0.0046; each of three is first in (1 - 0.25^3) / 3 of 3,000: 0.0086. Five of them.
  expect(Math.abs(left / (3 * draws) - 0.75)).toBeLessThan(0.023);
  for (const count of first.values()) expect(Math.abs(count / draws - (1 - 0.25 ** 3) / 3)).toBeLessThan(0.043);
  expect(shuffleTags('a cat', { separator: ', ', keep: 1, dropout: 1 }, rng)).toBe('a cat');
  expect(() => shuffleTags('a', { separator: '', keep: -1, dropout: 2 }, rng)).toThrow(
    /separator[\s\S]*keep[\s\S]*dropout/,
  );
});
