import type { TorchGenerator } from '@mezzotint/random';
import * as tf from '@tensorflow/tfjs-core';
import { adopt } from './adopt.js';
import { InvalidArgumentError, MezzotintError } from './errors.js';
import { type HostTensor, isBlockTensor, type StoredTensor, sizeOf } from './host-tensor.js';
import type { Initializer } from './initializers.js';
import { fileOrder, fromFile, type ParamLayout, toFile, toFileShape } from './param-layout.js';

export interface ParamOptions {
  /** Values at `init`. */
  readonly init: Initializer;
  /** How the file's axes are ordered; `same` when absent. */
  readonly layout?: ParamLayout;
  /** False for what checkpoints hold but training does not change (buffers, frozen tables). */
  readonly trainable?: boolean;
  /** True for what PyTorch calls a buffer: in checkpoints, not trained, and not counted as a parameter by the papers. */
  readonly buffer?: boolean;
  /** True for a matrix `[out, in]` that is only ever multiplied with: it may be kept in blocks (`BlockTensor`). */
  readonly matrix?: boolean;
}

/** New values of a parameter, on the device and not yet in force. Exactly one of `commit` and `discard` must follow. */
export interface StagedParam {
  readonly tensor: tf.Tensor;
  commit(): void;
  discard(): void;
}

/**
 * A named place for weights: a shape, an initialiser and a file layout, and no value until `init` or `load`. So a
 * model of any size can be described, counted and checked against a checkpoint without allocating it.
 */
export class Param {
  static readonly brand: symbol = Symbol.for('mezzotint.param');
  /** Shape in memory (convolution kernels `[H, W, I, O]`). */
  readonly shape: readonly number[];
  readonly layout: ParamLayout;
  readonly trainable: boolean;
  readonly buffer: boolean;
  readonly matrix: boolean;
  readonly #init: Initializer;
  #value: tf.Variable | undefined;
  #substitute: tf.Tensor | undefined;

  constructor(
    shape: readonly number[],
    { init, layout = 'same', buffer = false, trainable = !buffer, matrix = false }: ParamOptions,
  ) {
    this.shape = shape;
    this.layout = layout;
    this.trainable = trainable;
    this.matrix = matrix;
    this.buffer = buffer;
    this.#init = init;
    Object.defineProperty(this, Param.brand, { value: true });
  }

  /** True for a parameter, whichever copy of this package made it. */
  static isInstance(value: unknown): value is Param {
    return typeof value === 'object' && value !== null && Param.brand in value;
  }

  /** Shape in files (convolution kernels `[O, I, H, W]`). */
  get fileShape(): readonly number[] {
    return toFileShape(this.shape, this.layout);
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  get hasValue(): boolean {
    return this.#value !== undefined;
  }

  /** The weights, for use in a forward pass. Throws before `init` or `load`. */
  get value(): tf.Tensor {
    return this.#substitute ?? this.variable;
  }

  /** The variable that holds the weights, for optimizers. Throws before `init` or `load`. */
  get variable(): tf.Variable {
    if (this.#value === undefined) {
      throw new MezzotintError(
        'MEZZOTINT_NO_WEIGHTS',
        `A parameter of shape [${this.shape.join(', ')}] has no value yet: call init(seed) or load(weights) on its model first.`,
        { shape: this.shape },
      );
    }
    return this.#value;
  }

  /** Draws the initial values. `rng` is this parameter's own stream. */
  initialize(rng: TorchGenerator): void {
    this.#take(this.#tensor(this.#init(this.shape, rng)));
  }

  /**
   * Takes values from a file's tensor.
   *
   * @throws InvalidArgumentError when it has not `fileShape`, or not as many numbers as its shape says
   */
  fromHost(tensor: HostTensor): void {
    this.stage(tensor).commit();
  }

  /**
   * The first half of `fromHost`: puts the values on the device and changes nothing yet, so that many parameters can
   * change together or not at all. Exactly one of `commit` and `discard` must follow.
   *
   * @throws InvalidArgumentError as `fromHost`
   */
  stage(tensor: HostTensor): StagedParam {
    return this.#staged(this.#tensor(this.decode(tensor)));
  }

  /**
   * `stage` for a tensor that the caller gives up: an engine that can, keeps the array itself, 16-bit floats and blocks as
   * they are.
   * Undefined where the engine cannot keep it; then the array is still the caller's.
   *
   * @throws InvalidArgumentError as `fromHost`
   */
  adopt(given: StoredTensor): StagedParam | undefined {
    const order = fileOrder(this.shape, this.layout);
    if (isBlockTensor(given)) {
      const { shape, data, dtype, scales } = given;
      this.#check(shape, data.length * (dtype === 'q4_0' ? 2 : 1));
      const tensor = this.matrix ? adopt({ data, scales, dtype, shape: this.shape, order }) : undefined;
      return tensor && this.#staged(tensor);
    }
    const { shape, data, dtype } = given;
    this.#check(shape, data.length);
    if (data instanceof Int32Array || dtype === 'int32') return undefined;
    const tensor = adopt({ data, dtype, shape: this.shape, order });
    return tensor && this.#staged(tensor);
  }

  /** The values in the file's layout. */
  async toHost(): Promise<HostTensor> {
    return this.encode((await this.variable.data()) as Float32Array);
  }

  /** Numbers in memory order (averages, moments) as a file's tensor. */
  encode(data: Float32Array): HostTensor {
    return { shape: this.fileShape, data: toFile(data, this.shape, this.layout) };
  }

  /**
   * A file's tensor as numbers in memory order.
   *
   * @throws InvalidArgumentError when it has not `fileShape`, or not as many numbers as its shape says
   */
  decode(tensor: HostTensor): Float32Array {
    this.#check(tensor.shape, tensor.data.length);
    return fromFile(tensor, this.layout);
  }

  /** Runs `body` with `tensor` in place of the value (averaged weights). `body` must be synchronous, as a forward is. */
  substitute<T>(tensor: tf.Tensor, body: () => T): T {
    return Param.substituteAll([[this, tensor]], body);
  }

  /** Runs `body`, which must be synchronous, with each tensor in place of its parameter's value. */
  static substituteAll<T>(values: Iterable<readonly [Param, tf.Tensor]>, body: () => T): T {
    const before: Array<readonly [Param, tf.Tensor | undefined]> = [];
    try {
      for (const [param, tensor] of values) before.push([param, param.swap(tensor)]);
      return body();
    } finally {
      for (const [param, tensor] of before.reverse()) param.swap(tensor);
    }
  }

  /** Sets or (undefined) removes what stands in for the value, and returns what did so far. `substitute` puts it back. */
  swap(tensor: tf.Tensor | undefined): tf.Tensor | undefined {
    const before = this.#substitute;
    this.#substitute = tensor;
    return before;
  }

  /** Frees the values; `init` or `load` can give new ones. */
  dispose(): void {
    this.#value?.dispose();
    this.#value = undefined;
  }

  #check(shape: readonly number[], count: number): void {
    if (String(shape) === String(this.fileShape) && count === this.size) return;
    throw new InvalidArgumentError(
      'Param',
      `expected a tensor of shape [${this.fileShape.join(', ')}] and ${this.size} numbers, ` +
        `got [${shape.join(', ')}] and ${count}`,
    );
  }

  #staged(tensor: tf.Tensor): StagedParam {
    return { tensor, commit: () => this.#take(tensor), discard: () => tensor.dispose() };
  }

  #tensor(data: Float32Array): tf.Tensor {
    return tf.tensor(data, [...this.shape], 'float32');
  }

  /** Makes `tensor` the value and owns it. The variable stays the same one, which optimizers hold on to. */
  #take(tensor: tf.Tensor): void {
    if (this.#value === undefined) {
      // Never named: variable names are global in TensorFlow.js, and our tree holds the names.
      this.#value = tf.variable(tensor, this.trainable);
    } else {
      this.#value.assign(tensor);
    }
    tensor.dispose();
  }
}
