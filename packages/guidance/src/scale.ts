import type { NoiseLevel } from '@mezzotint/core';

/** A guidance scale, or one for each noise level. */
export type Scale = number | ((at: NoiseLevel) => number);

/** The scale at a noise level. */
export function scaleAt(scale: Scale, at: NoiseLevel): number {
  return typeof scale === 'number' ? scale : scale(at);
}
