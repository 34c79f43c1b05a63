/** A factor of a positive semi-definite matrix: C = R^T R with as many rows as C has rank. */
export interface CholeskyFactor {
  /** Row-major `[rank, n]`, in the column order of C. */
  readonly rows: Float64Array;
  readonly rank: number;
}

/**
 * Cholesky's factor with complete pivoting: each step takes the largest remaining diagonal, and ends when that is lost in
 * rounding (n eps max diag), so singular matrices are fine and their rank is found. G. Golub, C. Van Loan, "Matrix
 * Computations", 4th ed., 4.2.8.
 *
 * @param c symmetric, row-major `[n, n]`; not changed
 */
export function pivotedCholesky(c: Float64Array, n: number): CholeskyFactor {
  const rest = Float64Array.from({ length: n }, (_, i) => c[i * n + i]!);
  const tolerance = n * Number.EPSILON * rest.reduce((most, value) => Math.max(most, value), 0);
  const done = new Uint8Array(n);
  const rows: Float64Array[] = [];
  for (let k = 0; k < n; k++) {
    let pivot = -1;
    for (let i = 0; i < n; i++) {
      if (done[i] === 0 && (pivot < 0 || rest[i]! > rest[pivot]!)) pivot = i;
    }
    if (!(rest[pivot]! > tolerance)) break;
    const row = c.slice(pivot * n, (pivot + 1) * n);
    subtractProducts(row, rows, pivot);
    const root = Math.sqrt(rest[pivot]!);
    for (let j = 0; j < n; j++) {
      row[j] = done[j] === 1 ? 0 : row[j]! / root;
      rest[j]! -= row[j]! * row[j]!;
    }
    row[pivot] = root;
    done[pivot] = 1;
    rows.push(row);
  }
  const out = new Float64Array(rows.length * n);
  for (const [k, row] of rows.entries()) out.set(row, k * n);
  return { rows: out, rank: rows.length };
}

/** row -= sum over the rows m before of m[pivot] m, four at a time. */
function subtractProducts(row: Float64Array, rows: readonly Float64Array[], pivot: number): void {
  let m = 0;
  for (; m + 4 <= rows.length; m += 4) {
    const [r0, r1, r2, r3] = [rows[m]!, rows[m + 1]!, rows[m + 2]!, rows[m + 3]!];
    const [w0, w1, w2, w3] = [r0[pivot]!, r1[pivot]!, r2[pivot]!, r3[pivot]!];
    for (let j = 0; j < row.length; j++) row[j]! -= w0 * r0[j]! + w1 * r1[j]! + w2 * r2[j]! + w3 * r3[j]!;
  }
  for (; m < rows.length; m++) {
    const r = rows[m]!;
    const w = r[pivot]!;
    for (let j = 0; j < row.length; j++) row[j]! -= w * r[j]!;
  }
}
