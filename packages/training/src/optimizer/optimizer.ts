import {
  InvalidArgumentError,
  MezzotintError,
  type Param,
  type StateDict,
  WeightsMismatchError,
} from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';

/** Gradients by the key of the parameter. A parameter that is missing here is left as it is. */
export type Gradients = ReadonlyMap<string, tf.Tensor>;

/** What differs from update to update. */
export interface UpdateOptions {
  readonly learningRate: number;
  /** Factor on every gradient before all else (1 / number of summed micro-batches); 1 when absent. */
  readonly gradientScale?: number;
  /** Clips by global norm as `torch.nn.utils.clip_grad_norm_`; no clipping when absent. */
  readonly maxGradientNorm?: number;
  /** Global norm of the scaled gradients, where the caller knows it (from other processes); computed when absent. */
  readonly gradientNorm?: number;
}

/** All that an optimizer must remember, by `<state-dict key>.<name>` in the layout of files. */
export interface OptimizerState {
  /** Updates done. */
  readonly step: number;
  readonly tensors: StateDict;
}

/** Changes the parameters that it was made for. Owns its state until `dispose`. */
export interface Optimizer {
  /** The parameters that it changes, by key: what a training differentiates by. */
  readonly params: ReadonlyMap<string, Param>;
  /**
   * One update. Returns the global norm of the scaled gradients before clipping. Does not dispose the gradients.
   * Throws a MezzotintError `MEZZOTINT_NOT_FINITE`, and changes nothing, when the norm is not finite.
   */
  step(gradients: Gradients, options: UpdateOptions): Promise<number>;
  /** Sum of the squares of each gradient that `step` would use, by key in the order of `params`; `globalNorm` adds them up. */
  squaredNorms(gradients: Gradients): Promise<Map<string, number>>;
  save(): Promise<OptimizerState>;
  /** Takes a saved state; throws a WeightsMismatchError, and changes nothing, when it is of other parameters. */
  load(state: OptimizerState): void;
  dispose(): void;
}

/** The factor min(1, max / (norm + 1e-6)) of `torch.nn.utils.clip_grad_norm_`; 1 when there is no maximum. */
export function clippingFactor(norm: number, maxNorm: number | undefined): number {
  return maxNorm === undefined ? 1 : Math.min(1, maxNorm / (norm + 1e-6));
}

/** sqrt of the sum of sums of squares, added up in float64 in their order. */
export function globalNorm(squares: Iterable<number>): number {
  let sum = 0;
  for (const square of squares) sum += square;
  return Math.sqrt(sum);
}

/** Refuses an update with gradients that hold NaN or infinity. */
export function checkFinite(norm: number, step: number): void {
  if (Number.isFinite(norm)) return;
  throw new MezzotintError(
    'MEZZOTINT_NOT_FINITE',
    `Update ${step}: the gradient norm is ${norm}; nothing was changed. Lower the learning rate, clip the gradients, or go on from an earlier checkpoint.`,
    { step, norm },
  );
}

/** Names of the two moments in saved states; PyTorch's. */
export const MEAN = 'exp_avg';
export const SQUARE = 'exp_avg_sq';

/**
 * The keys of the parameters of which a saved state holds both moments.
 *
 * @throws WeightsMismatchError when the state is of other parameters, with all differences
 */
export function checkMoments(
  who: string,
  params: ReadonlyMap<string, Param>,
  { step, tensors }: OptimizerState,
): string[] {
  if (!Number.isSafeInteger(step) || step < 0) {
    throw new InvalidArgumentError(who, `the saved step must be an integer of at least 0, got ${step}`);
  }
  const known = new Map(
    [...params].flatMap(([path, param]) => [MEAN, SQUARE].map((name) => [`${path}.${name}`, param])),
  );
  const paths = [...params.keys()].filter((path) => `${path}.${MEAN}` in tensors || `${path}.${SQUARE}` in tensors);
  const missing = paths.flatMap((path) => [`${path}.${MEAN}`, `${path}.${SQUARE}`]).filter((key) => !(key in tensors));
  const unexpected = Object.keys(tensors).filter((key) => !known.has(key));
  const mismatched = Object.entries(tensors).flatMap(([name, { shape }]) => {
    const expected = known.get(name)?.fileShape;
    return expected === undefined || String(expected) === String(shape)
      ? []
      : [{ name, expected: `[${expected.join(', ')}]`, got: `[${shape.join(', ')}]` }];
  });
  if (missing.length + unexpected.length + mismatched.length > 0) {
    throw new WeightsMismatchError(who, missing, unexpected, mismatched);
  }
  return paths;
}
