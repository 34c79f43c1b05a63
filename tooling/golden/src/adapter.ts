import type { Module, WeightSource } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';

/** Tensors by the name that the golden folder has for them, without `in.` and `out.`. */
export type NamedTensors = Readonly<Record<string, tf.Tensor>>;

/**
 * How the golden folders of one family of classes are run with our models. One file a family in `adapters/`, listed in
 * `adapters/index.ts`.
 */
export interface Adapter<M extends Module = Module> {
  /** The classes of origin.json that it knows. */
  readonly classes: readonly string[];
  /** Tells classes of one name apart by their configuration; absent where the name is enough. */
  readonly accepts?: (config: unknown) => boolean;
  /** The folder holds no weights: it is of an operation. */
  readonly weightless?: boolean;
  /** Our model for the reference's own configuration (config.json, parsed), without weights. */
  build(config: unknown, className: string): M;
  /** The folder's weights under our names, where the reference has others. */
  translate?(source: WeightSource, config: unknown): WeightSource;
  /**
   * Runs the model. Inputs and outputs are as in the reference (images NCHW, ids and times int32); the tool wraps the
   * call in a tidy and compares each output that the folder holds.
   */
  run(model: M, inputs: NamedTensors): NamedTensors;
  /** Runs of a sampler that the folder has outputs of. The inputs stay the caller's. */
  sample?(model: M, inputs: NamedTensors): Promise<NamedTensors>;
}
