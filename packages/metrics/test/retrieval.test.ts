import { expect, test } from 'vitest';
import { type Features, retrieval } from '../src/index.js';

/** Rows at angles of a circle. */
const circle = (...degrees: number[]): Features => ({
  data: Float64Array.from(
    degrees.flatMap((a) => [3 * Math.cos((a * Math.PI) / 180), 3 * Math.sin((a * Math.PI) / 180)]),
  ),
  count: degrees.length,
  dim: 2,
});

test('recall counts the queries whose own target is among the first', () => {
  // Query 0 is closest to its own target, query 1 has one closer, query 2 two.
  const { recall, medianRank } = retrieval(circle(0, 30, 90), circle(5, 70, 300), { ranks: [1, 2, 3] });
  expect(recall.map(({ value }) => value)).toEqual([1 / 3, 2 / 3, 1]);
  expect(medianRank).toBe(2);
});

test('any right target counts, and there may be more targets than queries', () => {
  const right = (query: number, target: number) => target % 2 === query;
  const { recall } = retrieval(circle(0, 90), circle(80, 10, 170, 100), { ranks: [1, 2], right });
  // For 0 degrees the right ones are at 80 and 170: 10 is closer. For 90 they are at 10 and 100: 80 is as close as 100.
  expect(recall.map(({ value }) => value)).toEqual([0, 1]);
});

test('features that are all the same retrieve nothing at rank 1', () => {
  expect(retrieval(circle(7, 7, 7), circle(7, 7, 7)).recall[0]).toEqual({ rank: 1, value: 0 });
});

test('what cannot be compared is refused', () => {
  const zero = { data: new Float64Array(2), count: 1, dim: 2 };
  expect(() => retrieval(zero, circle(1))).toThrow(/queries: row 0 is zero/);
  expect(() => retrieval(circle(1), circle(1), { ranks: [0] })).toThrow(/ranks: expected whole numbers from 1, got 0/);
  expect(() => retrieval(circle(1), circle(1), { right: () => false })).toThrow(/query 0 has no right target/);
  expect(() => retrieval(circle(1), { data: new Float64Array(3), count: 1, dim: 3 })).toThrow(/dims 2 and 3/);
});
