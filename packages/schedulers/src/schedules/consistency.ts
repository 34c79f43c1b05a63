import { InvalidArgumentError } from '@mezzotint/core';

/**
 * Times of latent consistency models: of the `original` times that the distillation used (T/original - 1, ..., T - 1),
 * n evenly chosen from the noisiest down. LCM (Luo et al. 2023); TCD uses the same.
 *
 * @param steps n
 * @param options strength, in (0, 1]: of the original times only the lowest fraction counts, as for a start picture
 * @throws InvalidArgumentError for more steps than times
 */
export function consistencyTimesteps(
  steps: number,
  {
    total = 1000,
    original = 50,
    strength = 1,
  }: { readonly total?: number; readonly original?: number; readonly strength?: number | undefined } = {},
): Float64Array {
  const count = Math.floor(original * strength);
  if (!Number.isInteger(steps) || steps < 1 || steps > count) {
    const of = strength === 1 ? '' : ` (${original} times, strength ${strength})`;
    throw new InvalidArgumentError(
      'consistencyTimesteps',
      `steps must be an integer from 1 to ${count}${of}, got ${steps}`,
    );
  }
  const stride = Math.floor(total / original);
  return Float64Array.from({ length: steps }, (_, i) => (count - Math.floor((i * count) / steps)) * stride - 1);
}
