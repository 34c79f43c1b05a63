import type { StateDict } from '@mezzotint/core';

/** A running average of a model's parameters. Owns its memory until `dispose`. */
export interface Average {
  /** Takes the parameters as they are now into the average. */
  update(): void;
  /** Runs `body` with the averages in place of the model's weights, which come back afterwards, bit for bit. */
  during<T>(body: () => T | Promise<T>): Promise<T>;
  save(): Promise<AverageState>;
  /** Takes a saved state; throws a WeightsMismatchError, and changes nothing, when it is of another model. */
  load(state: AverageState): void;
  dispose(): void;
}

/** All that an average must remember; the tensors are a state dict that the model itself can load. */
export interface AverageState {
  readonly updates: number;
  readonly tensors: StateDict;
}
