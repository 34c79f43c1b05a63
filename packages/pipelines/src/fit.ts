import { InvalidFileError, type WeightSource, WeightsMismatchError } from '@mezzotint/core';
import type { Part } from './stage.js';

/** What is done about tensors that no part needs. */
export interface FitPartsOptions {
  /** Refuse them. */
  readonly strict: boolean;
  /** A line for the user. */
  note(line: string): void;
}

/**
 * Parts with the tensors that their modules have; others are left out and named. Reads nothing.
 *
 * @throws WeightsMismatchError for a part whose tensors are missing or of another shape; InvalidFileError, with `strict`, for
 *   tensors that are too many
 */
export function fitParts(parts: readonly Part[], { strict, note }: FitPartsOptions): Part[] {
  return parts.map((part) => {
    const { name, module, weights } = part;
    const { missing, unexpected, mismatched } = module.compare(weights);
    if (missing.length + mismatched.length > 0) {
      throw new WeightsMismatchError(`${name} (${weights.name})`, missing, strict ? unexpected : [], mismatched);
    }
    if (unexpected.length === 0) return part;
    const listed = `${unexpected.slice(0, 5).join(', ')}${unexpected.length > 5 ? `, … (${unexpected.length} in all)` : ''}`;
    if (strict) throw new InvalidFileError(weights.name, `${name}: does not need ${listed}`);
    note(`${name}: does not need ${listed}; left out`);
    return { ...part, weights: without(weights, new Set(unexpected)) };
  });
}

/** A source without some of its tensors. */
function without(source: WeightSource, left: ReadonlySet<string>): WeightSource {
  return {
    name: source.name,
    tensors: new Map([...source.tensors].filter(([name]) => !left.has(name))),
    read: (name) => source.read(name),
    ...(source.take && { take: (name, keep) => source.take!(name, keep) }),
  };
}
