import { InvalidArgumentError } from '@mezzotint/core';

/** Which parts of the batches of an update one of several processes takes. */
export interface BatchShare {
  /** Batches of an update. */
  readonly batches: number;
  /** Equal parts that each batch is cut into: the micro-batches. */
  readonly parts: number;
  /** The first part that this process takes, counted over all batches of the update from 0. */
  readonly first: number;
  /** How many it takes; `next()` gives one at a time. */
  readonly count: number;
}

/** Every batch, whole. */
export const WHOLE: BatchShare = { batches: 1, parts: 1, first: 0, count: 1 };

/** Where a walk over the parts of a share stands. */
export interface BatchPlace {
  readonly epoch: number;
  /** The first batch of the update. */
  readonly batch: number;
  /** Parts of the update that were taken. */
  readonly taken: number;
}

/** The place after the next part. */
export function nextPlace(at: BatchPlace, share: BatchShare, batchesPerEpoch: number): BatchPlace {
  if (at.taken + 1 < share.count) return { ...at, taken: at.taken + 1 };
  return { ...forward(at, share.batches, batchesPerEpoch), taken: 0 };
}

/** The part that comes at a place: its batch, and the rows of it. */
export function partAt(at: BatchPlace, share: BatchShare, batchesPerEpoch: number) {
  const part = share.first + at.taken;
  const batch = forward(at, Math.floor(part / share.parts), batchesPerEpoch);
  /** From where to where, of `count` rows. */
  const rows = (count: number): [number, number] => {
    const size = count / share.parts;
    return [(part % share.parts) * size, ((part % share.parts) + 1) * size];
  };
  return { ...batch, rows };
}

function forward({ epoch, batch }: { epoch: number; batch: number }, by: number, perEpoch: number) {
  const at = batch + by;
  return { epoch: epoch + Math.floor(at / perEpoch), batch: at % perEpoch };
}

/** @throws InvalidArgumentError when batches cannot be cut so */
export function checkShare(who: string, { batches, parts, first, count }: BatchShare, batchSize: number): void {
  const problems: string[] = [];
  if (![batches, parts, count].every((n) => Number.isInteger(n) && n >= 1) || !Number.isInteger(first) || first < 0) {
    problems.push('expected whole numbers of batches, parts and count from 1, and first from 0');
  } else {
    if (first + count > batches * parts) {
      problems.push(`the parts ${first} to ${first + count - 1} are not among the ${batches * parts} of an update`);
    }
    if (batchSize % parts !== 0) problems.push(`a batch of ${batchSize} cannot be cut into ${parts} equal parts`);
  }
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}
