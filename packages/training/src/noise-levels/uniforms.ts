import type { RandomStream } from '@mezzotint/core';

/** Where the noise levels of a batch fall: n numbers in [0, 1), each uniform on its own, together as they like. */
export type Uniforms = (n: number, rng: RandomStream) => Float64Array;

/** n independent uniforms. Draws n numbers. */
export const independent: Uniforms = (n, rng) => Float64Array.from(rng.rand(n));

/** One uniform in each of n equal slices, in order: u_i = (i + r_i) / n. Less variance of the loss. Draws n numbers. */
export const stratified: Uniforms = (n, rng) => Float64Array.from(rng.rand(n), (r, i) => (i + r) / n);

/**
 * A regular grid at a random offset: u_i = (r + i / n) mod 1. Draws one number.
 * Variational Diffusion Models (Kingma et al. 2021), appendix I.1.
 */
export const lowDiscrepancy: Uniforms = (n, rng) => {
  const offset = rng.rand(1)[0]!;
  return Float64Array.from({ length: n }, (_, i) => (offset + i / n) % 1);
};
