import { InvalidArgumentError, TorchGenerator } from '@mezzotint/core';
import { expect, test } from 'vitest';
import { dropLabels } from '../src/index.js';

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
