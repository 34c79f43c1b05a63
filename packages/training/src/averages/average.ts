import { InvalidArgumentError, type Param, type StateDict, WeightsMismatchError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** A running average of a model's parameters. Owns its memory until `dispose`. */
export interface Average {
  /** Takes the parameters as they are now into the average. */
  update(): void;
  /** Runs `body` with the averages in place of the model's weights, which come back afterwards, bit for bit. */
  withAveragedWeights<T>(body: () => T | Promise<T>): Promise<T>;
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

/** @throws WeightsMismatchError when the state is of another model, with all differences */
export function checkAverage(params: ReadonlyMap<string, Param>, { updates, tensors }: AverageState): void {
  if (!Number.isSafeInteger(updates) || updates < 0) {
    throw new InvalidArgumentError(
      'ema',
      `the saved number of updates must be an integer of at least 0, got ${updates}`,
    );
  }
  const missing = [...params.keys()].filter((path) => !(path in tensors));
  const unexpected = Object.keys(tensors).filter((path) => !params.has(path));
  const mismatched = Object.entries(tensors).flatMap(([name, { shape }]) => {
    const expected = params.get(name)?.fileShape;
    return expected === undefined || String(expected) === String(shape)
      ? []
      : [{ name, expected: `[${expected.join(', ')}]`, got: `[${shape.join(', ')}]` }];
  });
  if (missing.length + unexpected.length + mismatched.length > 0) {
    throw new WeightsMismatchError('ema', missing, unexpected, mismatched);
  }
}

/**
 * Runs `body` while each parameter's variable holds `tensorFor(path)`, then gives the variables their own tensors back (not
 * copies of them). `tensorFor` makes a tensor that is disposed here.
 */
export async function withWeights<T>(
  params: ReadonlyMap<string, Param>,
  tensorFor: (path: string) => tf.Tensor,
  body: () => T | Promise<T>,
): Promise<T> {
  const own = new Map<Param, tf.Tensor>();
  try {
    for (const [path, param] of params) {
      own.set(param, tf.keep(tf.clone(param.variable)));
      const value = tensorFor(path);
      param.variable.assign(value);
      value.dispose();
    }
    return await body();
  } finally {
    for (const [param, tensor] of own) {
      param.variable.assign(tensor);
      tensor.dispose();
    }
  }
}
