import type { WeightSource } from '@mezzotint/core';

/** Tensors of an open file. `close` frees what reading holds (a file handle); reading after it throws. */
export interface WeightFile extends WeightSource {
  /** The file's own notes (safetensors' `__metadata__`); empty where the format has none. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Frees what reading holds. May be called more than once. */
  close(): void;
}
