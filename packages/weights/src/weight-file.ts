import type { WeightSource } from '@mezzotint/core';

/** Tensors of an open file. `close` frees what reading holds (a file handle); reading after it throws. */
export interface WeightFile extends WeightSource {
  /** The file's own notes (safetensors' `__metadata__`, texts at the top of a torch file); empty where there are none. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Lists of a GGUF file's vocabulary (`tokenizer.ggml.tokens`); absent or empty where there are none. */
  readonly lists?: ReadonlyMap<string, readonly string[] | Uint8Array | readonly number[]>;
  /** Frees what reading holds. May be called more than once. */
  close(): void;
}
