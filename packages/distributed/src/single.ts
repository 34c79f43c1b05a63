import { MezzotintError } from '@mezzotint/core';
import { type Group, TransportGroup } from './group.js';

/** A group of this process alone: every call returns at once with what it was given, and nothing is loaded. */
export function single(): Group {
  const never = async () => undefined;
  return new TransportGroup('single', {
    ...{ rank: 0, size: 1 },
    ...{ exchangeParts: never, allGather: never, gather: never, broadcast: never, barrier: never, close: never },
    abort(reason) {
      throw new MezzotintError('MEZZOTINT_JOB_ABORTED', reason);
    },
  });
}
