import {
  InvalidArgumentError,
  type KeptType,
  type LoadOptions,
  type StateDict,
  type WeightSource,
} from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { OnnxRuntimeBackend } from './backend.js';
import { narrowBytes } from './memory/narrow.js';

const FORMATS = ['float16', 'bfloat16', 'int8', 'int4'] as const;

/** What stays as a file holds it, by the precision that is asked for. */
const KEPT: Readonly<Record<WeightPrecision | 'stored', readonly KeptType[]>> = {
  float16: ['float16'],
  bfloat16: ['bfloat16'],
  int8: ['q8_0'],
  int4: ['q4_0'],
  stored: ['float16', 'bfloat16', 'q4_0', 'q8_0'],
};

/**
 * How weights are kept.
 * `float16`, `bfloat16`: every weight, widened inside the graph where it is used; exact for files of that type.
 * `int8`, `int4`: linear weights `[out, in]` in blocks along `in` with one float32 scale each, multiplied by ONNX
 * Runtime's kernel for such weights; all others in float32.
 */
export type WeightPrecision = (typeof FORMATS)[number];

export interface QuantizeOptions {
  readonly weights: WeightPrecision;
  /** Weights that share a scale, for `int8` and `int4`: a power of two of at least 16; 32 when absent. */
  readonly block?: number;
  /** Rounds the other operand to 8 bits as well and multiplies integers, for `int8` and `int4`; false when absent. */
  readonly integerProducts?: boolean;
  /**
   * Feeds codes to programs instead of compiling those of 4 bits into them: layers that are alike share one program, and no
   * second copy is made. For large models; with few rows (tokens) it is slower. False when absent.
   */
  readonly fed?: boolean;
  /** Which parameters, by state-dict key and memory shape; all that the format can hold when absent. */
  readonly select?: (path: string, shape: readonly number[]) => boolean;
}

/** A model, or anything that lists its parameters so. */
export interface Quantizable {
  params(): ReadonlyMap<string, { readonly shape: readonly number[]; readonly variable: tf.Variable }>;
}

/** What quantizing or dequantizing did. */
export interface QuantizeReport {
  /** State-dict keys of the parameters that are kept in another format now. */
  readonly quantized: readonly string[];
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

/**
 * Keeps a model's weights in fewer bits from now on, for inference on the engine `onnxruntime`. The float32 numbers are
 * given up: reading a quantized weight gives the rounded ones. `dequantize`, training and loading make float32 of it again.
 *
 * @throws InvalidArgumentError when another engine is active, the format is none of `WeightPrecision`, the block is not a
 *   power of two of at least 16, or weights are too large for float16 or not finite (all of them by name); nothing is
 *   quantized then
 */
export function quantize(model: Quantizable, options: QuantizeOptions): QuantizeReport {
  const quantizer = new Quantizer('quantize', options);
  const params = [...model.params()];
  for (const [path, { shape, variable }] of params) quantizer.check(path, shape, variable);
  quantizer.throwProblems();
  for (const [path, { shape, variable }] of params) quantizer.take(path, shape, variable);
  return quantizer.report();
}

/**
 * Keeps a quantized model's weights in float32 again, for training or other formats: the rounded numbers that it computed
 * with. (Those from before `quantize` come from `load`.)
 *
 * @throws InvalidArgumentError when another engine is active
 */
export function dequantize(model: Quantizable): QuantizeReport {
  const engine = activeEngine('dequantize');
  const dequantized: string[] = [];
  let [before, after] = [0, 0];
  for (const [path, { variable }] of model.params()) {
    const bytes = variable.size * 4;
    const narrow = engine.widen(variable);
    if (narrow !== undefined) dequantized.push(path);
    before += narrow === undefined ? bytes : narrowBytes(narrow);
    after += bytes;
  }
  return { quantized: dequantized, bytesBefore: before, bytesAfter: after };
}

/** A model that loads weights. */
export interface Loadable extends Quantizable {
  load(weights: StateDict | WeightSource, options: LoadOptions): Promise<unknown>;
}

/** How `loadQuantized` keeps weights: as `QuantizeOptions`, or as the file holds them. */
export type LoadQuantizedOptions = Omit<QuantizeOptions, 'weights'> & {
  /** `stored`: 16-bit floats and GGUF's Q4_0 and Q8_0 stay as they are, all else is float32. */
  readonly weights: WeightPrecision | 'stored';
};

/**
 * Loads weights and quantizes each as it is read, so that a model never takes more memory than its quantized weights and one
 * of the file's. What a file holds in the precision that is asked for is not even widened: 16-bit floats, GGUF's Q4_0 for
 * `int4` and Q8_0 for `int8`, which are fed.
 *
 * @throws InvalidArgumentError as `quantize` does; what `load` throws. The model is as it was then.
 */
export async function loadQuantized(
  model: Loadable,
  weights: StateDict | WeightSource,
  options: LoadQuantizedOptions,
): Promise<QuantizeReport> {
  const { weights: format, select } = options;
  if (format === 'stored') return loadStored(model, weights);
  const quantizer = new Quantizer('loadQuantized', { ...options, weights: format });
  let left = model.params().size;
  await model.load(weights, {
    // What is not selected is to be float32, so nothing is taken as it is then.
    keep: select === undefined ? (KEPT[format] ?? []) : [],
    onTensor: (path, tensor) => {
      if (quantizer.check(path, tensor.shape, tensor)) quantizer.take(path, tensor.shape, tensor);
      // An error from here undoes the load, and comes with the last tensor, when all are known.
      if (--left === 0) quantizer.throwProblems();
    },
  });
  quantizer.throwProblems();
  return quantizer.report();
}

async function loadStored(model: Loadable, weights: StateDict | WeightSource): Promise<QuantizeReport> {
  const engine = activeEngine('loadQuantized');
  const quantized: string[] = [];
  let [before, after] = [0, 0];
  await model.load(weights, {
    keep: KEPT.stored,
    onTensor: (path, tensor) => {
      const bytes = tensor.size * 4;
      const narrow = engine.stored(tensor).buffer!.narrowed;
      if (narrow !== undefined) quantized.push(path);
      before += bytes;
      after += narrow === undefined ? bytes : narrowBytes(narrow);
    },
  });
  return { quantized, bytesBefore: before, bytesAfter: after };
}

function activeEngine(who: string): OnnxRuntimeBackend {
  const problems = engineProblems();
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  return tf.backend() as OnnxRuntimeBackend;
}

function engineProblems(): string[] {
  if (tf.backend() instanceof OnnxRuntimeBackend) return [];
  return [`expected the engine onnxruntime, got ${tf.getBackend()}; call tf.setBackend('onnxruntime') first`];
}

/** Quantizes tensors one by one, and counts. */
class Quantizer {
  readonly #quantized: string[] = [];
  readonly #problems: string[] = [];
  readonly #engine: OnnxRuntimeBackend;
  readonly #format: Parameters<OnnxRuntimeBackend['narrow']>[1];
  readonly #select: NonNullable<QuantizeOptions['select']>;
  #before = 0;
  #after = 0;

  constructor(
    readonly who: string,
    { weights, block = 32, integerProducts = false, fed = false, select = () => true }: QuantizeOptions,
  ) {
    const problems = engineProblems();
    if (!FORMATS.includes(weights)) {
      problems.push(`weights: expected one of ${FORMATS.join(', ')}, got ${JSON.stringify(weights)}`);
    }
    if (!(Number.isInteger(Math.log2(block)) && block >= 16)) {
      problems.push(`block: expected a power of two of at least 16, got ${block}`);
    }
    if (problems.length > 0) throw new InvalidArgumentError(who, problems);
    this.#engine = tf.backend() as OnnxRuntimeBackend;
    this.#format =
      weights === 'int8' || weights === 'int4'
        ? { bits: weights === 'int8' ? 8 : 4, block, integer: integerProducts, fed }
        : weights;
    this.#select = select;
  }

  /** Notes what the format cannot hold of a tensor; true when it can hold all. */
  check(path: string, shape: readonly number[], tensor: tf.Tensor): boolean {
    if (!this.#takes(path, shape, tensor)) return true;
    const largest = this.#engine.largest(tensor);
    const format = this.#format;
    if (!Number.isFinite(largest)) {
      this.#problems.push(`${path}: expected finite weights, got NaN or Infinity; check the file or the training`);
    } else if (format === 'float16' && largest >= BEYOND_HALF) {
      this.#problems.push(`${path}: expected magnitudes up to 65504 for float16, got ${largest}; use bfloat16`);
    } else {
      return true;
    }
    return false;
  }

  throwProblems(): void {
    if (this.#problems.length > 0) throw new InvalidArgumentError(this.who, this.#problems);
  }

  take(path: string, shape: readonly number[], tensor: tf.Tensor): void {
    const bytes = tensor.size * 4;
    this.#before += bytes;
    if (!this.#takes(path, shape, tensor)) {
      this.#after += bytes;
      return;
    }
    this.#after += narrowBytes(this.#engine.narrow(tensor, this.#format));
    this.#quantized.push(path);
  }

  report(): QuantizeReport {
    return { quantized: this.#quantized, bytesBefore: this.#before, bytesAfter: this.#after };
  }

  #takes(path: string, shape: readonly number[], tensor: tf.Tensor): boolean {
    const format = this.#format;
    const fits = typeof format === 'string' || (shape.length === 2 && shape[1]! % format.block === 0);
    return fits && tensor.dtype === 'float32' && this.#select(path, shape);
  }
}

/** The smallest number that rounds to a magnitude beyond float16's largest, 65504. */
const BEYOND_HALF = 65520;
