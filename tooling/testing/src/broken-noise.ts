import type { RandomStream } from '@mezzotint/core';

/** A random stream that fails in the middle of a forward pass, to see that nothing is left behind then. */
export const brokenNoise: RandomStream = {
  randn: () => new Float32Array(0),
  rand: () => {
    throw new Error('no more noise');
  },
};
