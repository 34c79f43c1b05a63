import { InvalidArgumentError, type Param, WeightsMismatchError } from '@mezzotint/core';
import type { AverageState } from './average.js';

/** @throws WeightsMismatchError when the state is of another model, with all differences */
export function checkAverage(params: ReadonlyMap<string, Param>, { updates, tensors }: AverageState): void {
  if (!Number.isSafeInteger(updates) || updates < 0) {
    throw new InvalidArgumentError(
      'ema',
      `the saved number of updates must be an integer of at least 0, got ${updates}`,
    );
  }
  const missing = [...params.keys()].filter((path) => !(path in tensors));
  const unexpected = Object.keys(tensors).filter((path) => !params.has(path));
  const mismatched = Object.entries(tensors).flatMap(([name, { shape }]) => {
    const expected = params.get(name)?.fileShape;
    return expected === undefined || String(expected) === String(shape)
      ? []
      : [{ name, expected: `[${expected.join(', ')}]`, got: `[${shape.join(', ')}]` }];
  });
  if (missing.length + unexpected.length + mismatched.length > 0) {
    throw new WeightsMismatchError('ema', missing, unexpected, mismatched);
  }
}
