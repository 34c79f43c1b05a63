import type { Clipping } from '../clipping.js';

/** One term c v of a sum. */
export type Term<V> = readonly [coefficient: number, vector: V];

/**
 * The few operations on pictures that solvers need. The same solver code runs on tensors and on plain float64 arrays,
 * so that what is proven on arrays holds for what users run.
 */
export interface Space<V> {
  /** Sum of c_i v_i in the order given; terms with c_i = 0 are left out, so that they cannot spoil it by Infinity. */
  combine(...terms: Term<V>[]): V;
  /** Elementwise product. */
  multiply(a: V, b: V): V;
  /** exp(v), elementwise. */
  exp(v: V): V;
  /** A vector from numbers in row-major order. */
  fromHost(values: Float32Array | Float64Array): V;
  /** The estimates brought into the range of a limit. */
  limit(v: V, limit: Clipping): V;
  /** Mean over the batch of each picture's L2 norm. */
  meanNorm(v: V): number;
  /** Root mean square of v / max(absolute, relative max(|a|, |b|)): the error norm of adaptive step sizes. */
  scaledError(v: V, a: V, b: V, absolute: number, relative: number): number;
}
