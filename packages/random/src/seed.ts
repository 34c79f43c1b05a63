import { InvalidArgumentError } from './invalid-argument-error.js';

/**
 * A seed as `torch.manual_seed` takes it, an integer in [-2^63, 2^64): a number where that is exact (up to 2^53 - 1), a bigint, or
 * its decimal digits, which is how JSON holds the larger ones.
 */
export type Seed = number | bigint | string;

/**
 * A seed as an integer.
 *
 * @throws InvalidArgumentError when it is not an integer in [-2^63, 2^64), or a number that is not exact
 */
export function seedValue(who: string, seed: Seed): bigint {
  if (isSeed(seed)) return BigInt(seed);
  const got = typeof seed === 'string' ? JSON.stringify((seed as string).slice(0, 40)) : String(seed);
  const wanted = 'an integer in [-2^63, 2^64): a number up to 2^53 - 1, a bigint, or decimal digits';
  throw new InvalidArgumentError(who, `the seed must be ${wanted}, got ${got}`);
}

/**
 * The seed `steps` after another, in the form that JSON can hold: a number where that is exact, else decimal digits. `seedPlus(seed, 0)`
 * is a seed in that form.
 *
 * @throws InvalidArgumentError when it is not in [-2^63, 2^64)
 */
export function seedPlus(seed: Seed, steps: number): number | string {
  const value = seedValue('seed', seedValue('seed', seed) + BigInt(steps));
  const exact = Number(value);
  return Number.isSafeInteger(exact) ? exact : String(value);
}

/** Whether a value is a seed. */
export function isSeed(value: unknown): value is Seed {
  const isInteger =
    typeof value === 'bigint' ||
    Number.isSafeInteger(value) ||
    (typeof value === 'string' && /^-?\d{1,20}$/.test(value));
  if (!isInteger) return false;
  const seed = BigInt(value as Seed);
  return seed >= -(2n ** 63n) && seed < 2n ** 64n;
}
