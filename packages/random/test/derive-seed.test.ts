import { expect, test } from 'vitest';
import { deriveSeed } from '../src/index.js';

test('never changes: seeds of initial weights depend on it', () => {
  expect([
    deriveSeed(0, ''),
    deriveSeed(0, 'a.weight'),
    deriveSeed(1, 'a.weight'),
    deriveSeed(-7, 'é'),
  ]).toMatchInlineSnapshot(`
    [
      1082018723,
      1085043082,
      1484811102,
      1527903582,
    ]
  `);
});

test('differs by seed, by either half of it, by sign and by path', () => {
  const paths = Array.from({ length: 2000 }, (_, i) => `blocks.${i}.attn.qkv.weight`);
  const seeds = [0, 1, -1, 2 ** 32, 2 ** 32 + 1, -(2 ** 40), Number.MAX_SAFE_INTEGER];
  const all = seeds.flatMap((seed) => ['', 'a', 'b', 'ab', 'ba', '\0', '\0\0'].map((path) => deriveSeed(seed, path)));
  expect(new Set(all).size).toBe(all.length);
  // 2000 random words of 32 bits collide with probability 2000^2 / 2^33 = 0.05 %; these are fixed, so never or always.
  expect(new Set(paths.map((path) => deriveSeed(0, path))).size).toBe(paths.length);
});

test('each bit of the answer is set for about half of the paths', () => {
  const n = 4000;
  const seeds = Array.from({ length: n }, (_, i) => deriveSeed(3, `layer.${i}`));
  for (let bit = 0; bit < 32; bit++) {
    const share = seeds.filter((seed) => (seed >>> bit) & 1).length / n;
    // Standard deviation 0.5 / sqrt(4000) = 0.008; five of them.
    expect(Math.abs(share - 0.5)).toBeLessThan(0.04);
  }
});

test('refuses what is not a safe integer', () => {
  expect(() => deriveSeed(0.5, 'a')).toThrow('up to 2^53 - 1, a bigint, or decimal digits');
  expect(() => deriveSeed(2 ** 53, 'a')).toThrow('up to 2^53 - 1, a bigint, or decimal digits');
});
