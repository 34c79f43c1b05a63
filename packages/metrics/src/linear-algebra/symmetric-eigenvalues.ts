import { MezzotintError } from '@mezzotint/core';

/**
 * Eigenvalues of a symmetric matrix, ascending, each to about eps times the largest: Householder's reduction to
 * tridiagonal form, then implicit QR steps with Wilkinson's shift. G. Golub, C. Van Loan, "Matrix Computations", 4th ed.,
 * 8.3. 2/3 n^3 multiplications.
 *
 * @param a row-major `[n, n]`; only the lower triangle is read; overwritten
 * @throws MezzotintError `MEZZOTINT_NO_CONVERGENCE` when the iteration does not end, which a finite matrix never does
 */
export function symmetricEigenvalues(a: Float64Array, n: number): Float64Array {
  const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) return new Float64Array(n);
  for (let i = 0; i < a.length; i++) a[i]! /= largest; // squares cannot overflow now
  const { diagonal, beside } = tridiagonalize(a, n);
  tridiagonalEigenvalues(diagonal, beside);
  for (let i = 0; i < n; i++) diagonal[i]! *= largest;
  return diagonal.sort();
}

/** A symmetric tridiagonal matrix: `beside[i]` joins i and i + 1. */
interface Tridiagonal {
  readonly diagonal: Float64Array;
  readonly beside: Float64Array;
}

/**
 * Reduces rows from the last to the first. With the reflection I - v v^T / h of row l, h = v^T v / 2, the rows above
 * change by A - v q^T - q v^T, q = p - (v^T p / 2h) v, p = A v / h. Each such change waits for the pass over A that
 * computes the next p, so A is read and written once a row.
 */
function tridiagonalize(a: Float64Array, n: number): Tridiagonal {
  const diagonal = new Float64Array(n);
  const beside = new Float64Array(Math.max(0, n - 1));
  let [v, q] = [new Float64Array(n), new Float64Array(n)]; // the change that waits; zero before the first row
  let [next, p] = [new Float64Array(n), new Float64Array(n)];
  for (let l = n - 1; l >= 0; l--) {
    applyTo(a.subarray(l * n, l * n + l + 1), v, q, l);
    diagonal[l] = a[l * n + l]!;
    if (l === 0) break;
    const h = reflection(a.subarray(l * n, l * n + l), next, beside);
    changeAndMultiply(a, n, l, v, q, next, p);
    if (h > 0) {
      let along = 0;
      for (let j = 0; j < l; j++) {
        p[j]! /= h;
        along += next[j]! * p[j]!;
      }
      along /= 2 * h;
      for (let j = 0; j < l; j++) p[j]! -= along * next[j]!;
    } else {
      p.fill(0, 0, l);
    }
    [v, next] = [next, v];
    [q, p] = [p, q];
  }
  return { diagonal, beside };
}

/** The waiting change, on one row. */
function applyTo(row: Float64Array, v: Float64Array, q: Float64Array, i: number): void {
  const [vi, qi] = [v[i]!, q[i]!];
  for (let j = 0; j < row.length; j++) row[j]! -= vi * q[j]! + qi * v[j]!;
}

/**
 * The reflection that leaves of `x` only its last element, written to `beside`.
 *
 * @returns h, or 0 when there is nothing to do (v is zero then)
 */
function reflection(x: Float64Array, v: Float64Array, beside: Float64Array): number {
  const last = x.length - 1;
  let square = 0;
  for (let j = 0; j < last; j++) square += x[j]! * x[j]!;
  if (square === 0) {
    beside[last] = x[last]!;
    v.fill(0, 0, x.length);
    return 0;
  }
  const end = x[last]!;
  const length = Math.sqrt(square + end * end);
  const sign = end < 0 ? -1 : 1;
  beside[last] = -sign * length;
  v.set(x);
  v[last] = end + sign * length; // no cancellation
  return length * (length + Math.abs(end));
}

/** Applies the waiting change to the leading l x l rows of A and sets `p` to the changed A times `next`. */
function changeAndMultiply(
  a: Float64Array,
  n: number,
  l: number,
  v: Float64Array,
  q: Float64Array,
  next: Float64Array,
  p: Float64Array,
): void {
  p.fill(0, 0, l);
  for (let i = 0; i < l; i++) {
    const row = i * n;
    const [vi, qi, ni] = [v[i]!, q[i]!, next[i]!];
    let sum = 0;
    for (let j = 0; j < i; j++) {
      const value = a[row + j]! - vi * q[j]! - qi * v[j]!;
      a[row + j] = value;
      sum += value * next[j]!;
      p[j]! += value * ni;
    }
    const value = a[row + i]! - 2 * vi * qi;
    a[row + i] = value;
    p[i]! += sum + value * ni;
  }
}

/** Overwrites `diagonal` by the eigenvalues, in no order, and `beside` by zeros. */
function tridiagonalEigenvalues(diagonal: Float64Array, beside: Float64Array): void {
  const isSmall = (i: number) =>
    Math.abs(beside[i]!) <= Number.EPSILON * (Math.abs(diagonal[i]!) + Math.abs(diagonal[i + 1]!)) ||
    Math.abs(beside[i]!) < 1e-300;
  let end = diagonal.length - 1;
  let steps = 0;
  while (end > 0) {
    if (isSmall(end - 1)) {
      beside[end - 1] = 0;
      end -= 1;
      steps = 0;
      continue;
    }
    let start = end - 1;
    while (start > 0 && !isSmall(start - 1)) start -= 1;
    if (start > 0) beside[start - 1] = 0;
    qrStep(diagonal, beside, start, end);
    steps += 1;
    if (steps > 100) {
      throw new MezzotintError(
        'MEZZOTINT_NO_CONVERGENCE',
        'symmetricEigenvalues: no convergence in 100 steps; is the matrix finite?',
      );
    }
  }
}

/** One implicit QR step on rows start..end: a rotation makes a bulge beside the diagonal, the others chase it out. */
function qrStep(d: Float64Array, e: Float64Array, start: number, end: number): void {
  // Wilkinson's shift: the eigenvalue of the last 2 x 2 block that is nearer to its last element
  const half = (d[end - 1]! - d[end]!) / 2;
  const last = e[end - 1]!;
  const shift = d[end]! - (last * last) / (half + (half < 0 ? -1 : 1) * Math.sqrt(half * half + last * last));
  let x = d[start]! - shift;
  let z = e[start]!;
  for (let k = start; k < end; k++) {
    const r = Math.sqrt(x * x + z * z);
    const [c, s] = r > 0 ? [x / r, z / r] : [1, 0];
    if (k > start) e[k - 1] = r;
    const [a, b, g] = [d[k]!, e[k]!, d[k + 1]!];
    d[k] = c * c * a + 2 * c * s * b + s * s * g;
    d[k + 1] = s * s * a - 2 * c * s * b + c * c * g;
    e[k] = c * s * (g - a) + (c * c - s * s) * b;
    x = e[k]!;
    if (k < end - 1) {
      z = s * e[k + 1]!;
      e[k + 1]! *= c;
    }
  }
}
