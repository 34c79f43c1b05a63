import type { Features } from './features.js';

/**
 * Squared Euclidean distances from row `i` of `a` to rows `from` to `to` of `b`, in float64, by differences: exact zeros
 * for equal rows, and the same from either side.
 *
 * @param out overwritten from 0 on
 */
export function squaredDistances(
  a: Features,
  i: number,
  b: Features,
  from: number,
  to: number,
  out: Float64Array,
): void {
  const { dim } = a;
  const [x, y] = [a.data, b.data];
  const p = i * dim;
  let j = from;
  for (; j + 4 <= to; j += 4) {
    const q = j * dim;
    const [r, s, t] = [q + dim, q + 2 * dim, q + 3 * dim];
    let d0 = 0;
    let d1 = 0;
    let d2 = 0;
    let d3 = 0;
    for (let k = 0; k < dim; k++) {
      const value = x[p + k]!;
      const e0 = value - y[q + k]!;
      const e1 = value - y[r + k]!;
      const e2 = value - y[s + k]!;
      const e3 = value - y[t + k]!;
      d0 += e0 * e0;
      d1 += e1 * e1;
      d2 += e2 * e2;
      d3 += e3 * e3;
    }
    out[j - from] = d0;
    out[j - from + 1] = d1;
    out[j - from + 2] = d2;
    out[j - from + 3] = d3;
  }
  for (; j < to; j++) {
    let sum = 0;
    for (let k = 0; k < dim; k++) {
      const e = x[p + k]! - y[j * dim + k]!;
      sum += e * e;
    }
    out[j - from] = sum;
  }
}
