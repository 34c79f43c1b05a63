import { throwIf } from '../checks.js';

/** Which hidden state a forward pass gives besides the last one. */
export interface HiddenStateOptions {
  /** How many of the last layers the hidden state skips: 0 (when absent) is the last layer's output, 1 the penultimate. */
  readonly skip?: number;
}

/** Throws an InvalidArgumentError unless `skip` is in 0..layers; skipping all layers gives the embeddings. */
export function checkSkip(who: string, skip: number, layers: number): void {
  const fits = Number.isInteger(skip) && skip >= 0 && skip <= layers;
  throwIf(who, fits ? [] : [`skip: expected a whole number in 0..${layers}, got ${skip}`]);
}
