import { InvalidArgumentError } from '@mezzotint/core';
import { problemsOf } from './features.js';
import { pivotedCholesky } from './linear-algebra/pivoted-cholesky.js';
import { rowProducts } from './linear-algebra/row-products.js';
import { symmetricEigenvalues } from './linear-algebra/symmetric-eigenvalues.js';

/** A normal distribution in D dimensions: `FeatureStatistics`, or the `mu` and `sigma` of a published statistics file. */
export interface Gaussian {
  /** D. */
  readonly dim: number;
  /** `[D]`. */
  readonly mean: Float64Array;
  /** Row-major `[D, D]`, symmetric and positive semi-definite. */
  readonly covariance: Float64Array;
}

/**
 * Squared Fréchet distance of two normal distributions, the FID when the features are Inception's:
 * `|mu - mu'|^2 + tr C + tr C' - 2 tr (C C')^(1/2)`. M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule
 * Converge to a Local Nash Equilibrium" (2017), eq. 6.
 *
 * With C = R^T R the trace of the root is the sum of the roots of the eigenvalues of the symmetric R C' R^T. R has as many
 * rows as the covariance of lower rank has rank, so that rounding makes no roots out of null directions; covariances of
 * fewer images than dimensions are fine. About 3 D^3 multiplications: some 20 s at D = 2048.
 *
 * @throws InvalidArgumentError when dims differ, or a covariance is not finite, not symmetric or has a negative variance
 */
export function frechetDistance(a: Gaussian, b: Gaussian): number {
  const left = checked('a', a);
  const right = checked('b', b);
  const problems = [...left.problems, ...right.problems];
  if (a.dim !== b.dim) problems.push(`expected Gaussians of one dim, got ${a.dim} and ${b.dim}`);
  if (problems.length > 0) throw new InvalidArgumentError('frechetDistance', problems);

  let distance = -2 * traceOfRoot(left.covariance, right.covariance, a.dim);
  for (let i = 0; i < a.dim; i++) {
    const delta = left.mean[i]! - right.mean[i]!;
    distance += delta * delta + left.covariance[i * a.dim + i]! + right.covariance[i * a.dim + i]!;
  }
  return Math.max(0, distance); // rounding alone can make it negative
}

/** tr (A B)^(1/2) of two covariances `[n, n]`. */
function traceOfRoot(a: Float64Array, b: Float64Array, n: number): number {
  const ofA = pivotedCholesky(a, n);
  const ofB = pivotedCholesky(b, n);
  const [factor, other] = ofA.rank <= ofB.rank ? [ofA, b] : [ofB, a];
  const { rows, rank } = factor;
  const half = new Float64Array(rank * n); // R C', as C' is symmetric
  rowProducts({ data: rows, from: 0, count: rank }, { data: other, from: 0, count: n }, n, half);
  const form = new Float64Array(rank * rank); // R C' R^T
  rowProducts({ data: half, from: 0, count: rank }, { data: rows, from: 0, count: rank }, n, form);
  return symmetricEigenvalues(form, rank).reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
}

/** Reads a Gaussian once (its getters may copy) and lists what is wrong with it. */
function checked(name: string, gaussian: Gaussian) {
  const { dim, mean, covariance } = gaussian;
  const problems = [
    ...problemsOf(`${name}.mean`, { data: mean, count: 1, dim }, 1),
    ...problemsOf(`${name}.covariance`, { data: covariance, count: dim, dim }, 1),
  ];
  if (problems.length === 0) problems.push(...symmetryProblems(`${name}.covariance`, covariance, dim));
  return { mean, covariance, problems };
}

function symmetryProblems(name: string, c: Float64Array, n: number): string[] {
  for (let i = 0; i < n; i++) {
    const variance = c[i * n + i]!;
    if (variance < 0) return [`${name}: expected variances of at least 0, got ${variance} at ${i}`];
    for (let j = 0; j < i; j++) {
      const [below, above] = [c[i * n + j]!, c[j * n + i]!];
      if (Math.abs(below - above) > 1e-8 * (variance + c[j * n + j]!)) {
        return [`${name}: expected a symmetric matrix, got ${below} at [${i}, ${j}] and ${above} at [${j}, ${i}]`];
      }
    }
  }
  return [];
}
