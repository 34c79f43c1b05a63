import * as tf from '@tensorflow/tfjs-core';
import { MezzotintError } from './errors.js';
import { type HostTensor, sizeOf } from './host-tensor.js';
import type { Initializer } from './initializers.js';
import { fromFile, type ParamLayout, toFile, toFileShape } from './param-layout.js';
import type { TorchGenerator } from './random/torch-generator.js';

export interface ParamOptions {
  /** Values at `init`. */
  readonly init: Initializer;
  /** How the file's axes are ordered; `same` when absent. */
  readonly layout?: ParamLayout;
  /** False for what checkpoints hold but training does not change (buffers, frozen tables). */
  readonly trainable?: boolean;
}

/**
 * A named place for weights: a shape, an initialiser and a file layout, and no value until `init` or `load`. So a
 * model of any size can be described, counted and checked against a checkpoint without allocating it.
 */
export class Param {
  /** Shape in memory (convolution kernels `[H, W, I, O]`). */
  readonly shape: readonly number[];
  readonly layout: ParamLayout;
  readonly trainable: boolean;
  readonly #init: Initializer;
  #value: tf.Variable | undefined;
  #substitute: tf.Tensor | undefined;

  constructor(shape: readonly number[], { init, layout = 'same', trainable = true }: ParamOptions) {
    this.shape = shape;
    this.layout = layout;
    this.trainable = trainable;
    this.#init = init;
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
        `A parameter of shape [${this.shape}] has no value yet: call init(seed) or load(weights) on its model first.`,
        { shape: this.shape },
      );
    }
    return this.#value;
  }

  /** Draws the initial values. `rng` is this parameter's own stream. */
  initialize(rng: TorchGenerator): void {
    this.#set(this.#init(this.shape, rng));
  }

  /** Takes values from a file's tensor; the shape was checked by the module. */
  fromHost(tensor: HostTensor): void {
    this.#set(this.decode(tensor));
  }

  /** The values in the file's layout. */
  async toHost(): Promise<HostTensor> {
    return this.encode((await this.variable.data()) as Float32Array);
  }

  /** Numbers in memory order (averages, moments) as a file's tensor. */
  encode(data: Float32Array): HostTensor {
    return { shape: this.fileShape, data: toFile(data, this.shape, this.layout) };
  }

  /** A file's tensor of `fileShape` as numbers in memory order. */
  decode(tensor: HostTensor): Float32Array {
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
      for (const [param, tensor] of values) {
        before.push([param, param.#substitute]);
        param.#substitute = tensor;
      }
      return body();
    } finally {
      for (const [param, tensor] of before.reverse()) param.#substitute = tensor;
    }
  }

  dispose(): void {
    this.#value?.dispose();
    this.#value = undefined;
  }

  #set(data: Float32Array): void {
    // Never named: variable names are global in TensorFlow.js, and our tree holds the names.
    const tensor = tf.tensor(data, [...this.shape], 'float32');
    if (this.#value === undefined) {
      this.#value = tf.variable(tensor, this.trainable);
    } else {
      this.#value.assign(tensor);
    }
    tensor.dispose();
  }
}
