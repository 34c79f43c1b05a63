import { InvalidArgumentError, type Param, type StateDict, WeightsMismatchError } from '@mezzotint/core';

/** Names of the moments in saved states; PyTorch's. */
export const MEAN = 'exp_avg';
export const SQUARE = 'exp_avg_sq';

/**
 * The parameters of which a saved state holds both moments.
 *
 * @throws WeightsMismatchError when the state is of other parameters, with all differences
 */
export function checkMoments(params: ReadonlyMap<string, Param>, step: number, tensors: StateDict): string[] {
  if (!Number.isSafeInteger(step) || step < 0) {
    throw new InvalidArgumentError('AdamW', `the saved step must be an integer of at least 0, got ${step}`);
  }
  const known = new Map(
    [...params].flatMap(([path, param]) => [MEAN, SQUARE].map((name) => [`${path}.${name}`, param])),
  );
  const paths = [...params.keys()].filter((path) => `${path}.${MEAN}` in tensors || `${path}.${SQUARE}` in tensors);
  const missing = paths.flatMap((path) => [`${path}.${MEAN}`, `${path}.${SQUARE}`]).filter((key) => !(key in tensors));
  const unexpected = Object.keys(tensors).filter((key) => !known.has(key));
  const mismatched = Object.entries(tensors).flatMap(([name, { shape }]) => {
    const expected = known.get(name)?.fileShape;
    return expected === undefined || String(expected) === String(shape)
      ? []
      : [{ name, expected: `[${expected.join(', ')}]`, got: `[${shape.join(', ')}]` }];
  });
  if (missing.length + unexpected.length + mismatched.length > 0) {
    throw new WeightsMismatchError('AdamW', missing, unexpected, mismatched);
  }
  return paths;
}
