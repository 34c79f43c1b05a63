import { InvalidArgumentError } from '@mezzotint/core';

/**
 * Times of latent consistency models: of the `original` times that the distillation used (T/original - 1, ..., T - 1),
 * n evenly chosen from the noisiest down. LCM (Luo et al. 2023); TCD uses the same.
 *
 * @param steps n
 */
export function consistencyTimesteps(
  steps: number,
  { total = 1000, original = 50 }: { readonly total?: number; readonly original?: number } = {},
): Float64Array {
  if (!Number.isInteger(steps) || steps < 1 || steps > original) {
    throw new InvalidArgumentError(
      'consistencyTimesteps',
      `steps must be an integer from 1 to ${original}, got ${steps}`,
    );
  }
  const stride = Math.floor(total / original);
  return Float64Array.from({ length: steps }, (_, i) => (original - Math.floor((i * original) / steps)) * stride - 1);
}
