import { expect, test } from 'vitest';
import { drawShapes } from '../src/index.js';

test('shapes: classes in turn, captions that say what is drawn, the same for the same seed', () => {
  const set = drawShapes(70, { size: 16, seed: 3 });
  expect(set).toMatchObject({ count: 70, height: 16, width: 16, channels: 3 });
  expect(set.images).toHaveLength(70 * 16 * 16 * 3);
  expect(set.classes).toEqual(['circle', 'cross', 'heart', 'ring', 'square', 'star', 'triangle']);
  expect(Array.from(set.labels)).toEqual(Array.from({ length: 70 }, (_, i) => i % 7));
  set.captions.forEach((caption, i) => {
    expect(caption).toMatch(/^an? (?:red|orange|yellow|green|blue|purple) \w+ on (?:white|black|gray)$/);
    expect(caption).toContain(` ${set.classes[i % 7]} `);
  });
  expect(drawShapes(70, { size: 16, seed: 3 })).toEqual(set);
  expect(drawShapes(7, { size: 16, seed: 3 }).images).toEqual(set.images.slice(0, 7 * 16 * 16 * 3)); // of seed and i alone
  expect(drawShapes(70, { size: 16, seed: 4 }).images).not.toEqual(set.images);
});

test('a shape has its colour inside and its ground outside, and nothing else but mixtures', () => {
  const { images, captions } = drawShapes(21, { size: 32, seed: 0 });
  const colours = { red: [220, 40, 40], green: [40, 165, 70], blue: [45, 90, 220] } as const;
  const grounds = { white: 250, black: 20, gray: 130 } as const;
  captions.forEach((caption, i) => {
    const [, colour, , ground] = /^an? (\w+) (\w+) on (\w+)$/.exec(caption)!;
    const area = 32 * 32 * 3;
    const pixels = Array.from({ length: 32 * 32 }, (_, p) => [
      ...images.subarray(i * area + 3 * p, i * area + 3 * p + 3),
    ]);
    const outer = new Array<number>(3).fill(grounds[ground as keyof typeof grounds]);
    const count = (of: readonly number[]) => pixels.filter((pixel) => String(pixel) === String(of)).length;
    // A shape of radius 0.25 to 0.45 of the side covers 5 % (a thin cross) to 64 % (a circle).
    expect(count(outer)).toBeGreaterThan(0.25 * 1024);
    const inner = colours[colour as keyof typeof colours];
    if (inner !== undefined) expect(count(inner)).toBeGreaterThan(0.03 * 1024);
  });
});

test('a count or a size that is no positive integer is refused', () => {
  expect(() => drawShapes(0, { size: 1.5 })).toThrow(
    /count to be a positive integer, got 0[\s\S]*size to be a positive integer, got 1.5/,
  );
});
