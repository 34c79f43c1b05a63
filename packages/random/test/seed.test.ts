import { describe, expect, test } from 'vitest';
import { deriveSeed, isSeed, type Seed, seedPlus, TorchGenerator } from '../src/index.js';

// PyTorch 2.13: torch.randn(4, generator=torch.Generator().manual_seed(seed)), and the first three of torch.randn(20, ...).
const goldens: [digits: string, few: number[], many: number[]][] = [
  [
    '9007199254740993', // 2^53 + 1, which no number of JSON holds: it would be read as 2^53
    [0.6613521575927734, 0.266924113035202, 0.06167725846171379, 0.6213173270225525],
    [-1.5255959033966064, -0.7502318024635315, -0.6539809107780457],
  ],
  [
    '9223372036854775808', // 2^63
    [1.5409960746765137, -0.293428897857666, -2.1787893772125244, 0.5684312582015991],
    [-1.1258398294448853, -1.152360200881958, -0.2505785822868347],
  ],
  [
    '18446744073709551615', // 2^64 - 1
    [1.2197630405426025, -0.3929794728755951, 1.0230751037597656, -0.3734211325645447],
    [-2.664297580718994, -1.0910485982894897, 0.45144742727279663],
  ],
];

describe('seeds of 64 bits', () => {
  test.each(goldens)('%s gives the normals of PyTorch, as digits and as a bigint', (digits, few, many) => {
    for (const seed of [digits, BigInt(digits)]) {
      expect([...new TorchGenerator(seed).randn(4)]).toEqual(few);
      expect([...new TorchGenerator(seed).randn(20).subarray(0, 3)]).toEqual(many);
    }
  });

  test('a derived seed is the same for a number, a bigint and digits, and knows all 64 bits', () => {
    for (const seed of [0, 7, 2 ** 32 + 5, Number.MAX_SAFE_INTEGER, -3]) {
      expect([BigInt(seed), String(seed)].map((same) => deriveSeed(same, 'a'))).toEqual(
        [0, 0].fill(deriveSeed(seed, 'a')),
      );
    }
    const bits = Array.from({ length: 64 }, (_, bit) => deriveSeed(1n << BigInt(bit), 'a'));
    expect(new Set(bits).size).toBe(64);
  });

  test('the next seed is exact: a number as long as that is, then digits', () => {
    expect(seedPlus(Number.MAX_SAFE_INTEGER, 0)).toBe(Number.MAX_SAFE_INTEGER);
    expect(seedPlus(Number.MAX_SAFE_INTEGER, 2)).toBe('9007199254740993');
    expect(seedPlus('18446744073709551614', 1)).toBe('18446744073709551615');
    expect(seedPlus('7', 1)).toBe(8);
    expect(() => seedPlus('18446744073709551615', 1)).toThrow(/the seed must be .* got 18446744073709551616/);
  });

  test.each([
    1.5,
    2 ** 53,
    2n ** 64n,
    '18446744073709551616',
    '-9223372036854775809',
    '',
    '1e3',
    ' 1',
    '0x10',
    null,
    {},
  ])('%s is none', (value) => {
    expect(isSeed(value)).toBe(false);
    expect(() => new TorchGenerator(value as Seed)).toThrow('TorchGenerator: the seed must be');
  });
});
