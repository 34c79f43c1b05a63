import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { NumpyRandomState } from '../src/index.js';
import { InvalidArgumentError } from '../src/invalid-argument-error.js';

// Compared without tolerance: the claim is that the streams are NumPy's, bit for bit.

interface Fixture {
  readonly randn: { seed: number; n: number; first: number[]; crc32: number }[];
  readonly rand: { seed: number; n: number; first: number[]; crc32: number }[];
  readonly randint: { seed: number; low: number; high: number; values: number[] }[];
  readonly permutation: { seed: number; n: number; values: number[] }[];
  readonly sequences: { seed: number; steps: { call: string; arguments: number[]; values: number[] }[] }[];
}

const read = (name: string) => JSON.parse(readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8'));
const numpy = read('numpy-streams.json') as Fixture;
const goldens = read('goldens-rng.json') as Record<string, number[]>;

const bytes = (values: Float64Array) => crc32(Buffer.from(values.buffer, values.byteOffset, values.byteLength));

describe('NumpyRandomState equals numpy.random.RandomState', () => {
  test.each([0, 42, 1234])('the golden normals of seed %i', (seed) => {
    expect([...new NumpyRandomState(seed).randn(4)]).toEqual(goldens[`numpy RandomState(${seed}).randn(4)`]);
  });

  test.each(numpy.randn)('randn($n) from seed $seed', ({ seed, n, first, crc32 }) => {
    const x = new NumpyRandomState(seed).randn(n);
    expect([...x.slice(0, 6)]).toEqual(first);
    expect(bytes(x)).toBe(crc32);
  });

  test.each(numpy.rand)('rand($n) from seed $seed', ({ seed, n, first, crc32 }) => {
    const x = new NumpyRandomState(seed).rand(n);
    expect([...x.slice(0, 6)]).toEqual(first);
    expect(bytes(x)).toBe(crc32);
  });

  test.each(numpy.randint)('randint($low, $high) from seed $seed', ({ seed, low, high, values }) => {
    expect([...new NumpyRandomState(seed).randint(low, high, values.length)]).toEqual(values);
  });

  test.each(numpy.permutation)('permutation($n) from seed $seed', ({ seed, n, values }) => {
    expect([...new NumpyRandomState(seed).permutation(n)]).toEqual(values);
  });

  test.each(numpy.sequences)('a mixed sequence of calls from seed $seed, also through JSON after each', (sequence) => {
    const whole = new NumpyRandomState(sequence.seed);
    let restored = new NumpyRandomState(sequence.seed);
    for (const { call, arguments: args, values } of sequence.steps) {
      for (const stream of [whole, restored]) {
        const draw = stream[call as 'randn'] as (...numbers: number[]) => Float64Array;
        expect([...draw.apply(stream, args).slice(0, 10)]).toEqual(values);
      }
      restored = NumpyRandomState.fromState(JSON.parse(JSON.stringify(restored.state())));
    }
  });
});

describe('NumpyRandomState', () => {
  test('shuffle moves the elements of any array as permutation moves numbers', () => {
    const letters = [...'abcdefghij'];
    const order = new NumpyRandomState(9).permutation(10);
    expect(new NumpyRandomState(9).shuffle([...letters])).toEqual([...order].map((i) => letters[i]));
  });

  test.each([-1, 0.5, 2 ** 32, Number.NaN])('refuses the seed %s', (seed) => {
    expect(() => new NumpyRandomState(seed)).toThrow(InvalidArgumentError);
  });

  test('refuses counts, bounds and states that are none', () => {
    const stream = new NumpyRandomState(0);
    expect(() => stream.randn(-1)).toThrow('at least 0');
    expect(() => stream.randint(3, 3, 1)).toThrow('low < high');
    expect(() => NumpyRandomState.fromState({ key: [], position: 700, nextNormal: null })).toThrow(
      InvalidArgumentError,
    );
  });
});
