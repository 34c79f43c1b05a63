import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { OnnxRuntimeBackend } from './backend.js';
import { type Narrow, narrowBytes } from './memory/narrow.js';

/**
 * How weights are kept.
 * `float16`, `bfloat16`: every weight, widened inside the graph where it is used; exact for files of that type.
 * `int8`, `int4`: linear weights `[out, in]` in blocks along `in` with one float32 scale each, multiplied by ONNX
 * Runtime's kernel for such weights; all others in float32.
 */
export type WeightFormat = 'float16' | 'bfloat16' | 'int8' | 'int4';

export interface FreezeOptions {
  readonly weights: WeightFormat;
  /** Weights that share a scale, for `int8` and `int4`: a power of two of at least 16; 32 when absent. */
  readonly block?: number;
  /** Rounds the other operand to 8 bits as well and multiplies integers, for `int8` and `int4`; false when absent. */
  readonly integerProducts?: boolean;
  /** Which parameters, by state-dict key and memory shape; all that the format can hold when absent. */
  readonly select?: (path: string, shape: readonly number[]) => boolean;
}

/** A model, or anything that lists its parameters so. */
export interface Freezable {
  params(): ReadonlyMap<string, { readonly shape: readonly number[]; readonly variable: tf.Variable }>;
}

/** What freezing did. */
export interface FreezeReport {
  readonly frozen: readonly string[];
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

/**
 * Keeps a model's weights in fewer bits from now on, for inference on the engine `onnxruntime`. The float32 numbers are
 * given up: reading a frozen weight gives the rounded ones, and loading or training the model widens it again.
 *
 * @throws InvalidArgumentError when another engine is active, or the block is not a power of two of at least 16
 */
export function freeze(model: Freezable, options: FreezeOptions): FreezeReport {
  const { weights, block = 32, integerProducts = false, select = () => true } = options;
  const engine = tf.backend();
  const problems: string[] = [];
  if (!(engine instanceof OnnxRuntimeBackend)) {
    problems.push(`expected the engine onnxruntime, got ${tf.getBackend()}; call tf.setBackend('onnxruntime') first`);
  }
  if (!(Number.isInteger(Math.log2(block)) && block >= 16)) {
    problems.push(`block: expected a power of two of at least 16, got ${block}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('freeze', problems);

  const quantised = weights === 'int8' || weights === 'int4';
  const frozen: string[] = [];
  let [bytesBefore, bytesAfter] = [0, 0];
  for (const [path, { shape, variable }] of model.params()) {
    const bytes = variable.size * 4;
    bytesBefore += bytes;
    const fits = !quantised || (shape.length === 2 && shape[1]! % block === 0);
    if (!fits || variable.dtype !== 'float32' || !select(path, shape)) {
      bytesAfter += bytes;
      continue;
    }
    const narrow: Narrow = (engine as OnnxRuntimeBackend).narrow(
      variable,
      quantised ? { bits: weights === 'int8' ? 8 : 4, block, integer: integerProducts } : weights,
    );
    bytesAfter += narrowBytes(narrow);
    frozen.push(path);
  }
  return { frozen, bytesBefore, bytesAfter };
}
