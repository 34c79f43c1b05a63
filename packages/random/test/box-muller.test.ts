import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { expect, test, vi } from 'vitest';
import { boxMuller16 } from '../src/box-muller.js';
import { vectorNormals } from '../src/box-muller-simd.js';
import { Mt19937 } from '../src/mt19937.js';

test('the vector kernel gives the bits of the plain one, for random words and at the ends of each interval', () => {
  const vectors = vectorNormals()!;
  expect(vectors).not.toBeNull();
  const { words, normals, run } = vectors;
  const n = words.length;
  new Mt19937(1).fill(words);
  // 1 - u = 2^-24 ... 1, around powers of two and sqrt(1/2), and angles around the eighths of a turn.
  const edges = [0, 1, 2, 3, 0xffffff, 0xfffffe, 0x800000, 0x7fffff, 0x800001, 0x4afb0c, 0x4afb0d, 0x4afb0e];
  for (let i = 1; i < 8; i++) edges.push(i * 2 ** 21 - 1, i * 2 ** 21, i * 2 ** 21 + 1);
  for (const [i, a] of edges.entries()) {
    for (const [j, b] of edges.entries()) {
      const pair = i * edges.length + j;
      const at = Math.floor(pair / 8) * 16 + (pair % 8);
      words[at] = a;
      words[at + 8] = b;
    }
  }
  const plain = Float32Array.from(words, (word) => (word & 0xffffff) * 2 ** -24);
  for (let at = 0; at < n; at += 16) boxMuller16(plain, at);
  run(n);
  expect(Buffer.from(normals.buffer, 0, n * 4).equals(Buffer.from(plain.buffer))).toBe(true);
});

test('without WebAssembly the plain kernel is used, and the stream is the same', async () => {
  const { large } = JSON.parse(readFileSync(new URL('./fixtures/torch-streams.json', import.meta.url), 'utf8')) as {
    large: { seed: number; n: number; crc32: number }[];
  };
  const { seed, n, crc32: expected } = large.find((c) => c.n === 65536)!;
  vi.resetModules();
  vi.stubGlobal('WebAssembly', undefined);
  const plain = await import('../src/torch-generator.js');
  const x = new plain.TorchGenerator(seed).randn(n);
  const { vectorNormals: without } = await import('../src/box-muller-simd.js');
  expect(without()).toBeNull();
  vi.unstubAllGlobals();
  expect(crc32(Buffer.from(x.buffer))).toBe(expected);
});

test('the words of a stream do not depend on how they are taken', () => {
  const [one, many] = [new Mt19937(9), new Mt19937(9)];
  for (const n of [1, 623, 624, 5, 1300, 0, 2]) {
    const words = new Uint32Array(n);
    many.fill(words);
    expect([...words]).toEqual(Array.from({ length: n }, () => one.next()));
  }
});
