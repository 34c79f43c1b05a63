import { type Seed, seedValue } from './seed.js';

/**
 * Seed of an independent stream for the place called `path` in a run seeded with `seed`: a 32-bit hash (the rounds of
 * MurmurHash3 over both halves of the seed and the UTF-16 units of the path). The same on every machine, and part of
 * what makes runs repeatable: it never changes between versions.
 *
 * @param seed an integer in [-2^63, 2^64)
 * @returns an integer in [0, 2^32)
 * @throws InvalidArgumentError when the seed is not such an integer, or a number past 2^53 (use a bigint or digits)
 */
export function deriveSeed(seed: Seed, path: string): number {
  const value = seedValue('deriveSeed', seed);
  let hash = round(0, Number(BigInt.asIntN(32, value)));
  hash = round(hash, Number(BigInt.asIntN(32, value >> 32n)));
  for (let i = 0; i < path.length; i++) hash = round(hash, path.charCodeAt(i));
  return finish(hash ^ (path.length + 2));
}

/** One 32-bit word into the hash: rotations and odd multipliers, so that every step can be undone and nothing is lost. */
function round(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** Spreads every bit over the word. */
function finish(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
