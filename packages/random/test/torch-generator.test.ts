import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { TorchGenerator } from '../src/index.js';
import { InvalidArgumentError } from '../src/invalid-argument-error.js';

// Everything here is compared without tolerance: the claim is that the streams are PyTorch's, bit for bit.

interface Sized {
  readonly seed: number;
  readonly n: number;
  readonly first: number[];
  readonly last?: number[];
  readonly crc32: number;
}
interface Fixture {
  readonly sizes: { seed: number; n: number; randn: number[] }[];
  readonly large: Sized[];
  readonly huge: Sized[];
  readonly rand: Sized[];
  readonly wideSeeds: { seed: string; randn: number[]; rand: number[] }[];
  readonly randint: { seed: number; low: number; high: number; values: number[] }[];
  readonly randint64: { seed: number; low: string; high: string; values: string[] }[];
  readonly randperm: { seed: number; n: number; values: number[] }[];
  readonly sequences: {
    seed: number;
    steps: { call: 'randn' | 'rand' | 'randint'; arguments: number[]; last: number[]; crc32: number }[];
  }[];
}

const read = (name: string) => JSON.parse(readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8'));
const torch = read('torch-streams.json') as Fixture;
const goldens = read('goldens-rng.json') as Record<
  string,
  number[] & { first8: number[]; last4: number[]; sum: number }
>;

const bytes = (values: Float32Array | Int32Array) =>
  crc32(Buffer.from(values.buffer, values.byteOffset, values.byteLength));

describe('TorchGenerator equals torch.Generator on CPU', () => {
  test.each(Object.keys(goldens).filter((name) => /^torch cpu randn? seed/.test(name)))('%s', (name) => {
    const [, call, seed, n] = /(randn?) seed=(\d+) n=(\d+)/.exec(name)!;
    expect([...new TorchGenerator(Number(seed))[call as 'rand' | 'randn'](Number(n))]).toEqual(goldens[name]);
  });

  test.each([0, 42, 1234])('the latents of a 512 x 512 image from seed %i', (seed) => {
    const golden = goldens[`torch cpu randn 1x4x64x64 seed=${seed} stats`]!;
    const x = new TorchGenerator(seed).randn(4 * 64 * 64);
    expect([...x.slice(0, 8)]).toEqual(golden.first8);
    expect([...x.slice(-4)]).toEqual(golden.last4);
    // The reference summed 16384 float64 values in another order: 16384 * 4 * 2^-53 is below 1e-11.
    expect(x.reduce((sum, v) => sum + v, 0)).toBeCloseTo(golden.sum, 9);
  });

  test('randn of 1 to 40 numbers: one by one below 16, in blocks with a redrawn tail from there', () => {
    for (const { seed, n, randn } of torch.sizes) expect([...new TorchGenerator(seed).randn(n)]).toEqual(randn);
  });

  test.each([...torch.large, ...torch.huge])('randn($n) from seed $seed', ({ seed, n, first, last, crc32 }) => {
    const x = new TorchGenerator(seed).randn(n);
    expect([...x.slice(0, 4)]).toEqual(first);
    expect([...x.slice(-4)]).toEqual(last);
    expect(bytes(x)).toBe(crc32);
  });

  test.each(torch.rand)('rand($n) from seed $seed', ({ seed, n, first, crc32 }) => {
    const x = new TorchGenerator(seed).rand(n);
    expect([...x.slice(0, 4)]).toEqual(first);
    expect(bytes(x)).toBe(crc32);
  });

  test.each(torch.wideSeeds)('the seed $seed as a bigint, of which the low 32 bits count', ({ seed, randn, rand }) => {
    expect([...new TorchGenerator(BigInt(seed)).randn(5)]).toEqual(randn);
    expect([...new TorchGenerator(BigInt(seed)).rand(3)]).toEqual(rand);
    if (Number.isSafeInteger(Number(seed))) expect([...new TorchGenerator(Number(seed)).randn(5)]).toEqual(randn);
  });

  test.each(torch.randint)('randint($low, $high) from seed $seed', ({ seed, low, high, values }) => {
    expect([...new TorchGenerator(seed).randint(low, high, values.length)]).toEqual(values);
  });

  test.each(torch.randint64)('randint64($low, $high) from seed $seed', ({ seed, low, high, values }) => {
    const x = new TorchGenerator(seed).randint64(BigInt(low), BigInt(high), values.length);
    expect([...x].map(String)).toEqual(values);
  });

  test.each(torch.randperm)('randperm($n) from seed $seed', ({ seed, n, values }) => {
    expect([...new TorchGenerator(seed).randperm(n)]).toEqual(values);
  });

  test.each(torch.sequences)('a mixed sequence of calls from seed $seed, also through JSON after each', (sequence) => {
    const whole = new TorchGenerator(sequence.seed);
    let restored = new TorchGenerator(sequence.seed);
    for (const { call, arguments: args, last, crc32 } of sequence.steps) {
      const draw = (g: TorchGenerator) => (g[call] as (...numbers: number[]) => Float32Array | Int32Array)(...args);
      for (const g of [whole, restored]) {
        const x = draw(g);
        expect([...x.slice(-4)]).toEqual(last);
        expect(bytes(x)).toBe(crc32);
      }
      restored = TorchGenerator.fromState(JSON.parse(JSON.stringify(restored.state())));
    }
  });
});

describe('TorchGenerator', () => {
  test('a state is a snapshot: drawing on changes neither it nor what is restored from it', () => {
    const generator = new TorchGenerator(5);
    generator.randn(3);
    const state = generator.state();
    const first = generator.randn(700);
    expect(TorchGenerator.fromState(state).randn(700)).toEqual(first);
    expect(TorchGenerator.fromState(state).randn(700)).toEqual(first);
  });

  test('no numbers, and empty draws that use up nothing', () => {
    const generator = new TorchGenerator(0);
    expect(generator.randn(0)).toHaveLength(0);
    expect(generator.rand(0)).toHaveLength(0);
    expect([...generator.rand(4)]).toEqual(goldens['torch cpu rand seed=0 n=4']);
  });

  test.each([0.5, Number.NaN, 2 ** 53, 2n ** 64n, -(2n ** 63n) - 1n])('refuses the seed %s', (seed) => {
    expect(() => new TorchGenerator(seed)).toThrow(InvalidArgumentError);
  });

  test('refuses counts and bounds that are none, all problems at once', () => {
    const generator = new TorchGenerator(0);
    expect(() => generator.randn(-1)).toThrow('at least 0');
    expect(() => generator.rand(1.5)).toThrow('integer');
    expect(() => generator.randint(0.5, 2 ** 40, 1)).toThrow(/low must be[\s\S]*high must be/);
    expect(() => generator.randint(3, 3, 1)).toThrow('low must be below high');
    expect(() => generator.randint64(3n, 3n, 1)).toThrow('low < high');
  });

  test.each([
    { key: [], position: 0, nextNormal: null },
    { key: new Array(624).fill(-1), position: 0, nextNormal: null },
    { key: new Array(624).fill(1), position: 625, nextNormal: null },
    { key: new Array(624).fill(1), position: 0, nextNormal: 'x' },
    {},
  ])('refuses a state that is none: case %#', (state) => {
    expect(() => TorchGenerator.fromState(state as never)).toThrow(InvalidArgumentError);
  });
});
