import { InvalidArgumentError, type LoadOptions, type StateDict, type WeightSource } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { OnnxRuntimeBackend } from './backend.js';
import { narrowBytes } from './memory/narrow.js';

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
  const freezer = new Freezer('freeze', options);
  for (const [path, { shape, variable }] of model.params()) freezer.take(path, shape, variable);
  return freezer.report();
}

/** A model that loads weights. */
export interface Loadable {
  load(weights: StateDict | WeightSource, options: LoadOptions): Promise<unknown>;
}

/**
 * Loads weights and freezes each as it is read, so that a model never takes more memory than its frozen weights and one
 * of the file's. 16-bit weights of a file that has them so are not even widened.
 *
 * @throws InvalidArgumentError as `freeze` does; what `load` throws
 */
export async function loadFrozen(
  model: Loadable,
  weights: StateDict | WeightSource,
  options: FreezeOptions,
): Promise<FreezeReport> {
  const freezer = new Freezer('loadFrozen', options);
  const { weights: format, select } = options;
  const isHalf = format === 'float16' || format === 'bfloat16';
  await model.load(weights, {
    // What is not selected is to be float32, so nothing is taken as it is then.
    keep: isHalf && select === undefined ? [format] : [],
    onTensor: (path, tensor) => freezer.take(path, tensor.shape, tensor),
  });
  return freezer.report();
}

/** Freezes tensors one by one, and counts. */
class Freezer {
  readonly #frozen: string[] = [];
  readonly #engine: OnnxRuntimeBackend;
  readonly #format: Parameters<OnnxRuntimeBackend['narrow']>[1];
  readonly #select: NonNullable<FreezeOptions['select']>;
  #before = 0;
  #after = 0;

  constructor(who: string, { weights, block = 32, integerProducts = false, select = () => true }: FreezeOptions) {
    const engine = tf.backend();
    const problems: string[] = [];
    if (!(engine instanceof OnnxRuntimeBackend)) {
      problems.push(`expected the engine onnxruntime, got ${tf.getBackend()}; call tf.setBackend('onnxruntime') first`);
    }
    if (!(Number.isInteger(Math.log2(block)) && block >= 16)) {
      problems.push(`block: expected a power of two of at least 16, got ${block}`);
    }
    if (problems.length > 0) throw new InvalidArgumentError(who, problems);
    this.#engine = engine as OnnxRuntimeBackend;
    this.#format =
      weights === 'int8' || weights === 'int4'
        ? { bits: weights === 'int8' ? 8 : 4, block, integer: integerProducts }
        : weights;
    this.#select = select;
  }

  take(path: string, shape: readonly number[], tensor: tf.Tensor): void {
    const bytes = tensor.size * 4;
    const format = this.#format;
    this.#before += bytes;
    const fits = typeof format === 'string' || (shape.length === 2 && shape[1]! % format.block === 0);
    if (!fits || tensor.dtype !== 'float32' || !this.#select(path, shape)) {
      this.#after += bytes;
      return;
    }
    this.#after += narrowBytes(this.#engine.narrow(tensor, format));
    this.#frozen.push(path);
  }

  report(): FreezeReport {
    return { frozen: this.#frozen, bytesBefore: this.#before, bytesAfter: this.#after };
  }
}
