import { NumpyRandomState } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { pivotedCholesky } from '../src/linear-algebra/pivoted-cholesky.js';
import { rowProducts } from '../src/linear-algebra/row-products.js';
import { symmetricEigenvalues } from '../src/linear-algebra/symmetric-eigenvalues.js';

/** Q diag(values) Q^T with Q a product of reflections: a matrix whose eigenvalues are known. */
function withEigenvalues(values: readonly number[], seed: number): Float64Array {
  const n = values.length;
  const a = new Float64Array(n * n);
  for (const [i, value] of values.entries()) a[i * n + i] = value;
  const random = new NumpyRandomState(seed);
  for (let k = 0; k < 4; k++) {
    const v = random.randn(n);
    const h = v.reduce((sum, x) => sum + x * x, 0) / 2;
    for (let pass = 0; pass < 2; pass++) {
      for (let i = 0; i < n; i++) {
        let along = 0;
        for (let j = 0; j < n; j++) along += v[j]! * a[pass === 0 ? j * n + i : i * n + j]!;
        for (let j = 0; j < n; j++) a[pass === 0 ? j * n + i : i * n + j]! -= (along / h) * v[j]!;
      }
    }
  }
  return a;
}

describe('symmetricEigenvalues', () => {
  const largest = (values: readonly number[]) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

  // the method is backward stable: each eigenvalue within some n eps of the largest
  test.each([
    ['of both signs', Array.from({ length: 40 }, (_, i) => i - 20)],
    ['repeated', [5, 5, 5, 5, 1, 1, 0, 0, 0, -2]],
    ['of rank one', [0, 0, 0, 0, 0, 3]],
    ['over 14 orders', Array.from({ length: 15 }, (_, i) => 10 ** -i)],
    ['huge', [1e300, 2e300, -3e300]],
    ['tiny', [1e-300, 2e-300, 4e-300]],
    ['many', Array.from({ length: 150 }, (_, i) => Math.sin(i) * i)],
  ])('finds eigenvalues %s', (_, values) => {
    const n = values.length;
    const found = symmetricEigenvalues(withEigenvalues(values, 1), n);
    const expected = [...values].sort((a, b) => a - b);
    for (let i = 0; i < n; i++) expect(Math.abs(found[i]! - expected[i]!) / largest(values)).toBeLessThan(n * 2e-15);
  });

  test('the second difference matrix: 2 - 2 cos(k pi / (n + 1))', () => {
    const n = 100;
    const a = Float64Array.from({ length: n * n }, (_, ij) => [2, -1][Math.abs(Math.floor(ij / n) - (ij % n))] ?? 0);
    symmetricEigenvalues(a, n).forEach((value, k) => {
      expect(Math.abs(value - (2 - 2 * Math.cos(((k + 1) * Math.PI) / (n + 1))))).toBeLessThan(1e-13);
    });
  });

  test('the smallest sizes, zeros and diagonals', () => {
    expect([...symmetricEigenvalues(Float64Array.of(-3), 1)]).toEqual([-3]);
    expect([...symmetricEigenvalues(new Float64Array(0), 0)]).toEqual([]);
    expect([...symmetricEigenvalues(new Float64Array(16), 4)]).toEqual([0, 0, 0, 0]);
    expect([...symmetricEigenvalues(Float64Array.of(3, 0, 0, 0, 1, 0, 0, 0, 2), 3)]).toEqual([1, 2, 3]);
    const [low, high] = symmetricEigenvalues(Float64Array.of(0, 9, 1, 0), 2); // reads the lower triangle only
    expect(Math.abs(low! + 1) + Math.abs(high! - 1)).toBeLessThan(1e-15);
  });
});

describe('pivotedCholesky', () => {
  test.each([
    [[9, 4, 1, 0.25], 4],
    [[3, 2, 0, 0, 0, 1e-30], 2],
    [[0, 0, 0], 0],
  ])('finds factor and rank of eigenvalues %o', (values, rank) => {
    const n = values.length;
    const c = withEigenvalues(values, 2);
    const kept = c.slice();
    const factor = pivotedCholesky(c, n);
    expect(factor.rank).toBe(rank);
    expect(c).toEqual(kept);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += factor.rows[k * n + i]! * factor.rows[k * n + j]!;
        expect(Math.abs(sum - c[i * n + j]!)).toBeLessThan(1e-13);
      }
    }
  });
});

test('rowProducts is A B^T at every size around its tiles', () => {
  const random = new NumpyRandomState(3);
  for (const [rowsA, rowsB, dim] of [
    [1, 1, 1],
    [2, 4, 3],
    [3, 5, 7],
    [33, 31, 5],
    [34, 70, 2],
  ] as const) {
    const a = random.randn((rowsA + 1) * dim);
    const b = Float32Array.from(random.randn((rowsB + 2) * dim));
    const out = new Float64Array(rowsA * rowsB).fill(Number.NaN);
    rowProducts({ data: a, from: 1, count: rowsA }, { data: b, from: 2, count: rowsB }, dim, out);
    for (let i = 0; i < rowsA; i++) {
      for (let j = 0; j < rowsB; j++) {
        let sum = 0;
        for (let k = 0; k < dim; k++) sum += a[(i + 1) * dim + k]! * b[(j + 2) * dim + k]!;
        expect(out[i * rowsB + j]).toBe(sum); // the same sums in the same order
      }
    }
  }
});
