import type { StateDict } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';

/** Gradients by state-dict key. A parameter that is missing here is left as it is. */
export type Gradients = ReadonlyMap<string, tf.Tensor>;

/** What differs from update to update. */
export interface UpdateOptions {
  readonly learningRate: number;
  /** Factor on every gradient before all else (1 / number of summed micro-batches); 1 when absent. */
  readonly gradientScale?: number;
  /** Clips by global norm as `torch.nn.utils.clip_grad_norm_`; no clipping when absent. */
  readonly maxGradientNorm?: number;
}

/** All that an optimizer must remember, by `<state-dict key>.<name>` in the layout of files. */
export interface OptimizerState {
  /** Updates done. */
  readonly step: number;
  readonly tensors: StateDict;
}

/** Changes the parameters that it was made for. Owns its state until `dispose`. */
export interface Optimizer {
  /**
   * One update. Returns the global norm of the scaled gradients before clipping. Does not dispose the gradients.
   * Throws a MezzotintError `MEZZOTINT_NOT_FINITE`, and changes nothing, when the norm is not finite.
   */
  step(gradients: Gradients, options: UpdateOptions): Promise<number>;
  save(): Promise<OptimizerState>;
  /** Takes a saved state; throws a WeightsMismatchError, and changes nothing, when it is of other parameters. */
  load(state: OptimizerState): void;
  dispose(): void;
}
