/** Rows that stay in the cache while they meet other rows. */
const TILE = 32;

/** Row-major numbers. */
export type Rows = Float32Array | Float64Array;

/**
 * All inner products of rows of `a` with rows of `b`: `out[i, j] = a[aFrom + i] . b[bFrom + j]`, in float64.
 * As a matrix product: A B^T.
 *
 * @param dim length of a row
 * @param out row-major `[aCount, bCount]`, overwritten
 */
export function rowProducts(
  a: { readonly data: Rows; readonly from: number; readonly count: number },
  b: { readonly data: Rows; readonly from: number; readonly count: number },
  dim: number,
  out: Float64Array,
): void {
  for (let i0 = 0; i0 < a.count; i0 += TILE) {
    const i1 = Math.min(i0 + TILE, a.count);
    for (let j0 = 0; j0 < b.count; j0 += TILE) {
      const j1 = Math.min(j0 + TILE, b.count);
      tile(a.data, a.from, i0, i1, b.data, b.from, j0, j1, dim, out, b.count);
    }
  }
}

/** One tile, two rows by four at a time: eight sums for six loads. */
function tile(
  a: Rows,
  aFrom: number,
  i0: number,
  i1: number,
  b: Rows,
  bFrom: number,
  j0: number,
  j1: number,
  dim: number,
  out: Float64Array,
  stride: number,
): void {
  let i = i0;
  for (; i + 2 <= i1; i += 2) {
    const p = (aFrom + i) * dim;
    const q = p + dim;
    let j = j0;
    for (; j + 4 <= j1; j += 4) {
      const r = (bFrom + j) * dim;
      const s = r + dim;
      const t = s + dim;
      const u = t + dim;
      let p0 = 0;
      let p1 = 0;
      let p2 = 0;
      let p3 = 0;
      let q0 = 0;
      let q1 = 0;
      let q2 = 0;
      let q3 = 0;
      for (let k = 0; k < dim; k++) {
        const x = a[p + k]!;
        const y = a[q + k]!;
        const b0 = b[r + k]!;
        const b1 = b[s + k]!;
        const b2 = b[t + k]!;
        const b3 = b[u + k]!;
        p0 += x * b0;
        p1 += x * b1;
        p2 += x * b2;
        p3 += x * b3;
        q0 += y * b0;
        q1 += y * b1;
        q2 += y * b2;
        q3 += y * b3;
      }
      const at = i * stride + j;
      out[at] = p0;
      out[at + 1] = p1;
      out[at + 2] = p2;
      out[at + 3] = p3;
      out[at + stride] = q0;
      out[at + stride + 1] = q1;
      out[at + stride + 2] = q2;
      out[at + stride + 3] = q3;
    }
    for (; j < j1; j++) {
      out[i * stride + j] = dot(a, p, b, (bFrom + j) * dim, dim);
      out[(i + 1) * stride + j] = dot(a, q, b, (bFrom + j) * dim, dim);
    }
  }
  for (; i < i1; i++) {
    for (let j = j0; j < j1; j++) out[i * stride + j] = dot(a, (aFrom + i) * dim, b, (bFrom + j) * dim, dim);
  }
}

function dot(a: Rows, p: number, b: Rows, q: number, dim: number): number {
  let sum = 0;
  for (let k = 0; k < dim; k++) sum += a[p + k]! * b[q + k]!;
  return sum;
}
