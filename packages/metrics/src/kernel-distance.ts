import { checkPair, type Features } from './features.js';
import { rowProducts } from './linear-algebra/row-products.js';

/** A distance with the standard error of its estimate. */
export interface Estimate {
  readonly value: number;
  /** Standard deviation that the estimate would have over other samples of the same size. */
  readonly standardError: number;
}

/** Rows of a block of the kernel matrix; 8 x 256^2 bytes are held at a time. */
const BLOCK = 256;

/**
 * Kernel distance (KID when the features are Inception's): the unbiased estimate of the squared maximum mean discrepancy
 * under the kernel `(x . y / D + 1)^3`, from all pairs of samples. M. Bińkowski et al., "Demystifying MMD GANs" (2018),
 * eq. 4. Being unbiased it may be negative when the sets are alike.
 *
 * The standard error is the jackknife over images (B. Efron, C. Stein, "The Jackknife Estimate of Variance", 1981): it
 * takes no draws and, unlike the spread over subsets of {@link kernelDistanceOfSubsets}, it is that of the value given.
 * Where the two distributions are the same it is up to a factor of root 2 too large, never too small.
 *
 * @throws InvalidArgumentError for less than 3 rows, dims that differ, or numbers that are not finite
 */
export function kernelDistance(a: Features, b: Features): Estimate {
  checkPair('kernelDistance', { a, b }, 3);
  const [n, m] = [a.count, b.count];
  const within = { a: sumsWithin(a), b: sumsWithin(b) };
  const between = sumsBetween(a, b);
  const [sumA, sumB, sumAB] = [sum(within.a), sum(within.b), sum(between.a)];
  const value = discrepancy(sumA, n, sumB, m, sumAB);
  const withoutA = within.a.map((own, i) => discrepancy(sumA - 2 * own, n - 1, sumB, m, sumAB - between.a[i]!));
  const withoutB = within.b.map((own, j) => discrepancy(sumA, n, sumB - 2 * own, m - 1, sumAB - between.b[j]!));
  return { value, standardError: Math.sqrt(jackknifeVariance(withoutA) + jackknifeVariance(withoutB)) };
}

/** Unbiased squared discrepancy from sums over the kernel, the diagonals left out of the sums within. */
export function discrepancy(withinA: number, n: number, withinB: number, m: number, between: number): number {
  return withinA / (n * (n - 1)) + withinB / (m * (m - 1)) - (2 * between) / (n * m);
}

/** (N - 1) / N times the squared deviations of the N values that leave one sample out. */
function jackknifeVariance(values: Float64Array): number {
  const mean = sum(values) / values.length;
  const squares = values.reduce((total, value) => total + (value - mean) ** 2, 0);
  return ((values.length - 1) / values.length) * squares;
}

/** For each row, the sum of its kernel with every other row of the set. */
export function sumsWithin({ data, count, dim }: Features): Float64Array {
  const sums = new Float64Array(count);
  const block = new Float64Array(BLOCK * BLOCK);
  for (let i0 = 0; i0 < count; i0 += BLOCK) {
    for (let j0 = 0; j0 <= i0; j0 += BLOCK) {
      const [rows, columns] = [Math.min(BLOCK, count - i0), Math.min(BLOCK, count - j0)];
      rowProducts({ data, from: i0, count: rows }, { data, from: j0, count: columns }, dim, block);
      for (let i = 0; i < rows; i++) {
        const end = i0 === j0 ? i : columns; // below the diagonal
        for (let j = 0; j < end; j++) {
          const value = kernel(block[i * columns + j]!, dim);
          sums[i0 + i]! += value;
          sums[j0 + j]! += value;
        }
      }
    }
  }
  return sums;
}

/** For each row of either set, the sum of its kernel with every row of the other. */
export function sumsBetween(a: Features, b: Features): { readonly a: Float64Array; readonly b: Float64Array } {
  const sums = { a: new Float64Array(a.count), b: new Float64Array(b.count) };
  const block = new Float64Array(BLOCK * BLOCK);
  for (let i0 = 0; i0 < a.count; i0 += BLOCK) {
    for (let j0 = 0; j0 < b.count; j0 += BLOCK) {
      const [rows, columns] = [Math.min(BLOCK, a.count - i0), Math.min(BLOCK, b.count - j0)];
      rowProducts({ data: a.data, from: i0, count: rows }, { data: b.data, from: j0, count: columns }, a.dim, block);
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          const value = kernel(block[i * columns + j]!, a.dim);
          sums.a[i0 + i]! += value;
          sums.b[j0 + j]! += value;
        }
      }
    }
  }
  return sums;
}

/** Sum of all elements. */
export function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

function kernel(product: number, dim: number): number {
  const root = product / dim + 1;
  return root * root * root;
}
