import { NumpyRandomState } from '@mezzotint/core';
import type { Features } from '../src/index.js';

/** `scale * RandomState(seed).randn(count, dim) + shift`, as the fixture numpy.json says. */
export function randomFeatures(seed: number, count: number, dim: number, scale = 1, shift = 0): Features {
  const data = new NumpyRandomState(seed).randn(count * dim).map((value) => scale * value + shift);
  return { data, count, dim };
}

/** Rows `from` to `to`. */
export function rowsOf({ data, dim }: Features, from: number, to: number): Features {
  return { data: data.slice(from * dim, to * dim), count: to - from, dim };
}
